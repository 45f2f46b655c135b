// What the demos share: telling how the connection is, and waiting before trying again.

const FIRST_MS = 500;
const LONGEST_MS = 15_000;

const line = document.querySelector("#state");
const words = line.querySelector("span");
const countdown = line.querySelector("small");

/**
 * Tells people how the connection is. `state` is connecting, connected or waiting: the colour of the dot.
 * `hint` may change every second, and is not read out.
 */
export function tell(state, text, hint = "") {
  line.dataset.state = state;
  countdown.textContent = hint;
  // Screen readers speak whenever this changes, so it is left alone when nothing is new.
  if (words.textContent !== text) words.textContent = text;
}

/**
 * How long to wait before trying again.
 *
 * When a comet server restarts, all its visitors lose their connection in the same moment. If they
 * all came back in the same moment, too, they would knock it over again. So everyone waits a *random*
 * time, and twice as long after every failure, up to a quarter of a minute. Nobody ever gives up.
 */
export class Patience {
  #failures = 0;

  /** It works again: the next failure is a first one. */
  restore() {
    this.#failures = 0;
  }

  /** Resolves when it is time to try again, and counts the seconds down until then. */
  async wait(why) {
    tell("waiting", `${why} Reconnecting`);
    const ceiling = Math.min(LONGEST_MS, FIRST_MS * 2 ** this.#failures);
    this.#failures += 1;
    const until = performance.now() + ceiling * (0.5 + Math.random() / 2);

    // When the browser itself says that the network is back, there is no point in waiting on.
    const back = new AbortController();
    addEventListener("online", () => back.abort(), { signal: back.signal });
    for (let left; !back.signal.aborted && (left = until - performance.now()) > 0; ) {
      countdown.textContent = ` in ${Math.ceil(left / 1000)} s`;
      await pause(Math.min(left, 1000), back.signal);
    }
    back.abort();
    tell("connecting", "Connecting…");
  }
}

function pause(ms, cutShort) {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
    cutShort.addEventListener("abort", resolve);
  });
}

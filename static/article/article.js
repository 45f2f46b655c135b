// A chat over long polls: a request that is not answered until there is news.
//
// The whole protocol:
//
//     GET backend.php?timestamp=T    held, then {"msg":"Ada: hello","timestamp":1700000000.000123}
//     POST backend.php  msg=TEXT     200, nothing else
//
// T is the timestamp of the message before, so it is a *cursor*: "I have everything up to here." The server
// answers with the oldest message after it, at once if there already is one. However long this page was away
// between two questions: as far as the server's history reaches, nothing is skipped, and nothing comes twice.

import { Patience, tell } from "../reconnect.js";

// The server sends a space every 20 s while it has no news (JSON may begin with spaces).
// When not even those come, the connection is dead, although no one told us.
const SILENCE_MS = 45_000;
const LINES_MAX = 500; // on the page; the oldest leave it

const at = (id) => document.getElementById(id);
const [log, form, nickname, message, problem] = ["log", "form", "name", "message", "problem"].map(at);

listen();

// ---- Hearing ----

async function listen() {
  const patience = new Patience();

  // Where to begin? A cursor is a time, so "one hour ago" is one, too: what the room said
  // since then is told again, message by message. (0 would stand for "only the newest".)
  let cursor = Date.now() / 1000 - 3600;

  for (;;) {
    try {
      await knock();
      tell("connected", "Connected");
      for (;;) {
        const news = await ask(`backend.php?timestamp=${cursor}`, () => {
          patience.restore();
          // The past has been told; what comes from now on is worth reading out loud.
          log.ariaLive = "polite";
        });
        // A number is safe here: 16 digits are within what a double holds, and comes back as it was.
        cursor = news.timestamp;
        show(news);
      }
    } catch (error) {
      await patience.wait(error instanceof Refusal ? `${error.message}.` : "The server is out of reach.");
    }
  }
}

// A poll that waits is silent: there is no telling whether it has even arrived. So first, and
// after every failure, something is asked that is answered at once.
async function knock() {
  const answer = await fetch("./", { method: "HEAD", cache: "no-store", signal: AbortSignal.timeout(10_000) });
  if (!answer.ok) throw await Refusal.from(answer);
}

/**
 * One long poll. Comes back with a message, or throws; an hour of waiting is nothing special.
 * Calls `held` when the server has had no answer for a second: then it waits for news, as it should.
 */
async function ask(url, held) {
  const over = new AbortController();
  const giveUp = () => over.abort();
  let alarm = setTimeout(giveUp, SILENCE_MS);
  const second = setTimeout(held, 1000);
  addEventListener("offline", giveUp, { signal: over.signal });
  try {
    const answer = await fetch(url, { cache: "no-store", signal: over.signal });
    if (!answer.ok) throw await Refusal.from(answer);
    const pieces = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (let piece = { value: "" }; !piece.done; piece = await pieces.read()) {
      clearTimeout(alarm);
      alarm = setTimeout(giveUp, SILENCE_MS);
      text = (text + piece.value).trimStart();
    }
    return JSON.parse(text);
  } finally {
    clearTimeout(alarm);
    clearTimeout(second);
    giveUp(); // there is nothing left to give up but the listener
  }
}

// Whatever people write is text and stays text: it only ever goes into `textContent`, so no
// message can become a part of this page.
function show({ msg, timestamp }) {
  const [, who, what] = msg.match(/^([^:]{1,24}): (.+)$/s) ?? [null, "", msg];
  const when = new Date(timestamp * 1000);

  // bdi: a name or a text that is written from right to left turns nothing else around.
  const name = element("bdi", who);
  name.className = "who";
  const words = element("p");
  words.append(...(who ? [name, " "] : []), element("bdi", what));
  const time = element("time", when.toLocaleTimeString("en-GB", { timeStyle: "short" }));
  time.dateTime = when.toISOString();
  const line = element("div");
  line.className = "line";
  line.append(words, time);

  // Who has scrolled up to read is left in peace; everyone else sees the newest line.
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.append(line);
  if (log.children.length > LINES_MAX) log.firstChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function element(tag, text = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

// ---- Speaking ----

// Your own words take the same way as everybody's: to the server, into its log, and back through the poll.
// So all windows show the same lines in the same order.
let sending = false;

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = message.value;
  if (sending || !text.trim()) return;

  sending = true;
  form.setAttribute("aria-busy", "true");
  try {
    await say(nickname.value.trim() ? `${nickname.value.trim()}: ${text}` : text);
    problem.textContent = "";
    // Unless it has been typed on meanwhile.
    if (message.value === text) message.value = "";
  } catch (error) {
    const why = error instanceof Refusal ? error.message : "the server is out of reach";
    problem.textContent = `Not sent: ${why}. Your text is still here; press Enter to try again.`;
  }
  sending = false;
  form.removeAttribute("aria-busy");
  message.focus();
});

async function say(text) {
  const answer = await fetch("backend.php", {
    method: "POST",
    body: new URLSearchParams({ msg: text }),
    signal: AbortSignal.timeout(15_000),
  });
  if (!answer.ok) throw await Refusal.from(answer);
}

/** The server heard us and said no. */
class Refusal extends Error {
  static async from(answer) {
    // Problem reports (RFC 9457) carry a sentence for people in `detail`.
    const { detail } = await answer.json().catch(() => ({}));
    return new Refusal(detail ?? Refusal.#words[answer.status] ?? `the server answered ${answer.status}`);
  }

  static #words = {
    401: "the server takes messages only from those who have a token, and this page has none",
    403: "the server takes no messages from here",
    413: "this is too long for one message",
    429: "this was too much at once",
    503: "the server is full just now",
  };
}

// ---- Your name ----

// A name is a part of the text, "Ada: hello": the server knows nobody. The browser remembers
// it, if it is allowed to.
try {
  nickname.value = localStorage.getItem("name") ?? "";
  nickname.addEventListener("change", () => localStorage.setItem("name", nickname.value));
} catch {
  // Storage is switched off. Then it is typed again next time.
}

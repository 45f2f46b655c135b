// A chat on a channel: encke.js hears it, by whatever transport gets through, and speaks into it.
//
// The page holds no connection and counts no failures. It says which channel it wants, and is told
// three things: a message, a gap (messages that are gone for good), and how the connection is.

import { subscribe } from "../encke.js";
import { tell } from "../reconnect.js";

const LINES_MAX = 500; // on the page; the oldest leave it

const at = (id) => document.getElementById(id);
const [log, form, nickname, message, problem, transport, details] =
  ["log", "form", "name", "message", "problem", "transport", "details"].map(at);

let gaps = 0;
let feed = join();

// ---- Hearing ----

/** Listens, from the end of `before` if there was one: then nothing is missing and nothing comes twice. */
function join(before) {
  return subscribe("chat", {
    last: 50, // for a visitor who has just come
    since: before?.cursor,
    transports: transport.value ? [transport.value] : undefined,
    onmessage: show,
    ongap: showGap,
    onstate: showState,
  });
}

transport.addEventListener("change", () => {
  feed.close();
  feed = join(feed);
});

// Whatever people write is text and stays text: it only ever goes into `textContent`, so no
// message can become a part of this page.
function show({ id, data }) {
  const [, who, what] = data.match(/^([^:]{1,24}): (.+)$/s) ?? [null, "", data];
  const when = new Date(id / 1000); // an id is a time, in microseconds

  // bdi: a name or a text that is written from right to left turns nothing else around.
  const name = element("bdi", who);
  name.className = "who";
  const words = element("p");
  words.append(...(who ? [name, " "] : []), element("bdi", what));
  const time = element("time", clock(when));
  time.dateTime = when.toISOString();
  append("line", words, time);
  showDetails({ cursor: id });
}

/** Messages are gone that this page should have shown: the server was restarted, or we were away for too long. */
function showGap({ from, to }) {
  gaps += 1;
  const [first, last] = [from, to].map((id) => clock(new Date(id / 1000)));
  const when = first === last ? `at ${first}` : `between ${first} and ${last}`;
  append("lost", element("span", `Whatever was said ${when} is lost.`));
  showDetails({ cursor: to });
}

function append(kind, ...content) {
  const line = element("div");
  line.className = kind;
  line.append(...content);
  // Who has scrolled up to read is left in peace; everyone else sees the newest line.
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.append(line);
  if (log.children.length > LINES_MAX) log.firstChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function clock(when) {
  return when.toLocaleTimeString("en-GB", { timeStyle: "short" });
}

function element(tag, text = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

// ---- How the connection is ----

const known = {}; // what the quiet line says
let countdown;

function showState(state, { transport, cursor, leading, retryIn }) {
  clearInterval(countdown);
  showDetails({ transport, cursor, shared: leading ? "" : "through another tab" });
  if (state === "connecting") tell("connecting", "Connecting…");
  if (state === "offline") tell("waiting", "The network is gone. Reconnecting when it is back");
  if (state === "connected") {
    tell("connected", "Connected");
    // The past is told first. What comes after it is worth reading out loud.
    setTimeout(() => (log.ariaLive = "polite"), 1000);
  }
  if (state === "waiting") {
    const until = performance.now() + retryIn;
    const count = () => {
      const seconds = Math.max(1, Math.ceil((until - performance.now()) / 1000));
      tell("waiting", "The server is out of reach. Reconnecting", ` in ${seconds} s`);
    };
    count();
    countdown = setInterval(count, 1000);
  }
}

function showDetails(news) {
  Object.assign(known, news);
  const parts = [
    known.transport,
    known.shared,
    known.cursor && `cursor ${known.cursor}`,
    gaps === 1 ? "1 gap" : `${gaps || "no"} gaps`,
  ];
  details.textContent = parts.filter(Boolean).join(" · ");
}

// ---- Speaking ----

// Your own words take the same way as everybody's: to the server, into its log, and back through the
// channel. So all windows show the same lines in the same order.
let sending = false;

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = message.value;
  if (sending || !text.trim()) return;

  sending = true;
  form.setAttribute("aria-busy", "true");
  try {
    await within(15_000, feed.publish("chat", nickname.value.trim() ? `${nickname.value.trim()}: ${text}` : text));
    problem.textContent = "";
    // Unless it has been typed on meanwhile.
    if (message.value === text) message.value = "";
  } catch (error) {
    problem.textContent = `Not sent: ${reason(error)}. Your text is still here; press Enter to try again.`;
  }
  sending = false;
  form.removeAttribute("aria-busy");
  message.focus();
});

function within(ms, promise) {
  const late = new Promise((_, fail) => setTimeout(fail, ms, new TypeError("no answer")));
  return Promise.race([promise, late]);
}

/** Why the server did not take it, in words. `cause` is its status, if it answered at all. */
function reason({ cause, message }) {
  const words = {
    [undefined]: "the server is out of reach",
    401: "the server takes messages only from those who have a token, and this page has none",
    403: "the server takes no messages from here",
    413: "this is too long for one message",
    429: "this was too much at once",
    503: "the server is full just now",
  };
  return words[cause] ?? message;
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

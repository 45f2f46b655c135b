// The server's time, through a hidden iframe: the oldest comet there is, and it works in every browser.
//
// The iframe's document, backend.php, never finishes loading. The server writes one script element
// per second at its end, and a browser runs each as soon as its closing tag has arrived:
//
//     <script type="text/javascript">comet.printServerTime(1700000000);</script>
//
// Inside the iframe `comet` is `window.parent.comet`: the object below. So a server far away
// calls a function here, with no request for each call.

import { Patience, tell } from "../reconnect.js";

const FIRST_TICK_MS = 10_000; // for the first tick: connections can be slow to open
const SILENCE_MS = 3_500; // for every later one: it comes each second, so three are missing by then

const at = (id) => document.getElementById(id);
const patience = new Patience();

let frame; // the iframe that ticks, while there is one
let ticking; // whether it has ticked yet
let alarm; // the timer that rings when the ticks stay away
let ticks = 0;
let connections = 0;

window.comet = {
  /** The server calls this, once per second, with its Unix time in whole seconds. */
  printServerTime(seconds) {
    expectTickWithin(SILENCE_MS);
    if (!ticking) {
      ticking = true;
      at("connections").textContent = ++connections;
      patience.restore();
      tell("connected", "Connected");
    }
    print(seconds);

    // A document that never ends would also never stop growing: 86,400 script elements a day.
    // The script that is running right now has done its work, so it goes. (`currentScript` of the
    // iframe's document is the very element whose text called us.)
    frame.contentDocument.currentScript?.remove();
  },
};

function connect() {
  ticking = false;
  frame = document.createElement("iframe");
  frame.hidden = true;
  frame.title = "The server's ticks";
  frame.src = "backend.php";
  // A document without an end is never loaded. If it is, the answer was cut off, or this is the
  // browser's own page about a server that it could not reach.
  frame.addEventListener("load", lost);
  document.body.append(frame);
  expectTickWithin(FIRST_TICK_MS);
}

async function lost() {
  clearTimeout(alarm);
  frame.remove();
  await patience.wait("The clock has stopped.");
  connect();
}

// A cable that was pulled out says nothing at all: no event fires. Only a clock can notice that.
function expectTickWithin(ms) {
  clearTimeout(alarm);
  alarm = setTimeout(lost, ms);
}

function print(seconds) {
  const time = new Date(seconds * 1000);
  at("time").textContent = time.toLocaleTimeString("en-GB");
  at("time").dateTime = time.toISOString();
  at("date").textContent = time.toLocaleDateString("en-GB", { dateStyle: "full" });
  at("ticks").textContent = (++ticks).toLocaleString("en");
  at("drift").textContent = drift(seconds);
  at("wire").textContent = `<script type="text/javascript">comet.printServerTime(${seconds});</script>`;
}

// The server sends whole seconds, rounded down, at any moment within the second. So two clocks that
// agree differ here by 0 to 1 s and the time the tick travelled; only more than that is a difference.
function drift(seconds) {
  const ahead = Date.now() / 1000 - seconds;
  if (ahead > -0.25 && ahead < 1.5) return "agrees";
  const by = Math.max(1, Math.round(Math.abs(ahead - 0.5))).toLocaleString("en");
  return ahead > 0 ? `${by} s fast` : `${by} s slow`;
}

// Not before the page has loaded: until then an endless iframe would be a part of it, and
// the browser would show it as loading for ever.
if (document.readyState === "complete") connect();
else addEventListener("load", connect);

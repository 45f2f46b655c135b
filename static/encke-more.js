// Two more transports, which encke.js fetches when somebody asks for them: the endless line-by-line answer that
// programs read, and the endless iframe of 2007, for those who want to see it.
//
// A transport is an async function that runs until it fails. `ask(as)` is its URL, with the cursor in it;
// `on.hear` takes what comes, `on.alive` any sign of life, `on.fail` the reason of the end, and
// `on.signal` says that it is over for some reason of others.

export async function ndjson(ask, on) {
  const answer = await fetch(ask("ndjson"), { cache: "no-store", signal: on.signal });
  if (!answer.ok) throw Error(answer.status);
  on.alive();
  const pieces = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { value, done } = await pieces.read();
    if (done) throw "the stream ended";
    on.alive();
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line) on.hear(JSON.parse(line));
  }
}

// The server writes <script>parent.encke.f0({…});</script> into a document that never ends, so
// there must be something by that name here.
const callbacks = (globalThis.encke = {});
let count = 0;

export async function iframe(ask, on) {
  // As part of a page that is still being loaded, the iframe would keep it loading for ever.
  if (document.readyState !== "complete") await new Promise((done) => addEventListener("load", done));
  if (on.signal.aborted) return;

  const name = `f${count++}`;
  callbacks[name] = on.hear;
  const frame = document.createElement("iframe");
  frame.hidden = true;
  frame.title = "Messages";
  frame.src = `${ask("iframe")}&callback=parent.encke.${name}`;
  // A document without an end is never loaded. If it is, it was cut off, or says what went wrong.
  frame.onload = () => on.fail("the document ended");
  document.body.append(frame);

  // Scripts that have run would pile up, so they are swept out. That there was something to
  // sweep is a sign of life: heartbeats are white space.
  const broom = setInterval(() => {
    const body = frame.contentDocument?.body;
    if (!body?.firstChild) return;
    body.replaceChildren();
    on.alive();
  }, 250);

  on.signal.onabort = () => {
    clearInterval(broom);
    frame.remove();
    delete callbacks[name];
  };
}

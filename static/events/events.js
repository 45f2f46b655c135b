// Two channels of an encke server, heard with what every browser has. When the connection falls, the browser
// makes another, and hands back the id of the last message by itself: nothing is missed.

const log = document.querySelector("#log");

const clock = new EventSource("/channels/$clock");
clock.onmessage = ({ data }) => {
  document.querySelector("#time").textContent = new Date(data * 1000).toLocaleTimeString("en-GB");
};

const chat = new EventSource("/channels/chat?last=20");
chat.onmessage = ({ data }) => print(data);
// The server was restarted, or we were away for so long that it has forgotten what we missed.
chat.addEventListener("gap", () => print("(Something is missing here.)"));

function print(text) {
  const line = document.createElement("p");
  line.textContent = text;
  log.append(line);
}

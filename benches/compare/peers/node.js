// Event streams with nothing but Node's own http: what one writes in an afternoon, and what frameworks build on.
//
// node node.js PORT: GET /sub/CHANNEL listens, POST /pub/CHANNEL speaks. No history, no limits.

"use strict";
const http = require("http");

const channels = new Map();
let id = 0;

function subscribe(name, request, response) {
    if (!channels.has(name)) channels.set(name, new Set());
    const listeners = channels.get(name);
    response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
    response.write(": hello\n\n");
    listeners.add(response);
    response.on("close", () => listeners.delete(response));
}

function publish(name, request, response) {
    const pieces = [];
    request.on("data", (piece) => pieces.push(piece));
    request.on("end", () => {
        // Encoded once for all, as it should be.
        const frame = Buffer.from(`id: ${++id}\ndata: ${Buffer.concat(pieces)}\n\n`);
        for (const listener of channels.get(name) ?? []) listener.write(frame);
        response.writeHead(201, { "Content-Length": 0 });
        response.end();
    });
}

const server = http.createServer((request, response) => {
    const [, what, name] = request.url.split("?")[0].split("/");
    if (request.method === "GET" && what === "sub") return subscribe(name, request, response);
    if (request.method === "POST" && what === "pub") return publish(name, request, response);
    response.writeHead(404, { "Content-Length": 0 });
    response.end();
});
server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 65535 });

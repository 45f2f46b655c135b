"""Real clients talk to the server: `websockets`, `sseclient`, `requests`.

Called by tests/channel_clients.rs with the server's address. Ends with 0 if everything that was
said was heard; otherwise the traceback says what was not.
"""

import asyncio
import json
import sys

import requests
import sseclient
import websockets

BASE = sys.argv[1]
PATIENCE = 20
TEXTS = ["one", "two\nlines", "three \u2028 \U0001f600", "</script>", "five"]


def publish(channel, text):
    answer = requests.post(f"http://{BASE}/channels/{channel}", data=text.encode(), timeout=PATIENCE)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def events(channel, last_id=None):
    """Opens an event stream as a browser does, and yields its events."""
    headers = {"Accept": "text/event-stream"}
    if last_id:
        headers["Last-Event-ID"] = last_id
    response = requests.get(
        f"http://{BASE}/channels/{channel}", headers=headers, stream=True, timeout=PATIENCE
    )
    assert response.status_code == 200, response.text
    # Whatever has come, as it comes: by default `requests` waits until 128 bytes have.
    pieces = (piece for piece in iter(response.raw.read1, b""))
    return response, sseclient.SSEClient(pieces).events()


def event_stream_resumes():
    response, heard = events("py-events")
    ids = [publish("py-events", text) for text in TEXTS[:2]]
    first, second = next(heard), next(heard)
    assert [first.data, second.data] == TEXTS[:2], (first.data, second.data)
    assert [first.id, second.id] == [str(i) for i in ids]
    response.close()
    for text in TEXTS[2:]:
        publish("py-events", text)
    response, heard = events("py-events", last_id=second.id)
    assert [next(heard).data for _ in TEXTS[2:]] == TEXTS[2:]
    response.close()
    # A cursor that nobody gave: the word about it comes first.
    response, heard = events("py-events", last_id="5")
    gap = next(heard)
    assert gap.event == "gap" and json.loads(gap.data)["from"] == 5, gap
    assert next(heard).data == TEXTS[0]
    response.close()


def polls_follow_each_other():
    session = requests.Session()
    since = publish("py-poll", "start")
    for text in TEXTS:
        publish("py-poll", text)
        url = f"http://{BASE}/channels/py-poll?since={since}"
        answer = session.get(url, timeout=PATIENCE).json()
        assert [m["data"] for m in answer["messages"]] == [text], answer
        since = answer["since"]


async def websocket_talks():
    url = f"ws://{BASE}/channels/py-socket"
    async with websockets.connect(url) as listener, websockets.connect(url) as speaker:
        for n, text in enumerate(TEXTS):
            await speaker.send(json.dumps({"publish": text, "channel": "py-socket", "ref": n}))
            reply = None
            while reply is None:
                told = json.loads(await asyncio.wait_for(speaker.recv(), PATIENCE))
                reply = told if "ref" in told else None
            assert reply["ref"] == n, reply
            news = json.loads(await asyncio.wait_for(listener.recv(), PATIENCE))
            assert (news["id"], news["data"]) == (reply["id"], text), news
        await asyncio.wait_for(await listener.ping(), PATIENCE)
    async with websockets.connect(f"{url}?since=oldest") as late:
        heard = [json.loads(await asyncio.wait_for(late.recv(), PATIENCE))["data"] for _ in TEXTS]
        assert heard == TEXTS, heard


event_stream_resumes()
polls_follow_each_other()
asyncio.run(websocket_talks())
print("all was heard")

// Channels of an encke server: docs/client.md

let store = {};
try {
	store = sessionStorage;
} catch {}

const word = encodeURIComponent;

export const wires = {
	async websocket(ask, on) {
		const socket = new WebSocket(ask("websocket"));
		// Brings the cursor.
		const probe = () => socket.send('{"unsubscribe":[],"ref":0}');
		const pulse = setInterval(probe, 25e3);
		socket.onopen = () => on.alive(probe());
		socket.onmessage = ({ data }) => on.hear(JSON.parse(data));
		socket.onclose = ({ code, reason }) => on.fail(`closed ${code}`, on.retry = +reason.slice(9, -1));
		on.signal.onabort = () => socket.close(clearInterval(pulse));
	},

	async events(ask, on) {
		const { body } = await request(ask("events&envelope"), on);
		const reader = body.pipeThrough(new TextDecoderStream()).getReader();
		for (let rest = ""; ; ) {
			const { value, done } = await reader.read();
			if (done) throw "ended";
			on.alive();
			const lines = (rest + value).split("\n");
			rest = lines.pop();
			for (const line of lines) {
				const [, field, text] = line.match(/^(\w+): (.+)/) ?? [];
				if (field === "data") on.hear(JSON.parse(text));
				else if (field) on[field] = +text; // id, retry
				else if (!line) on.hear({ since: on.id });
			}
		}
	},

	async poll(ask, on) {
		const poll = (method) => request(ask("poll"), on, method);
		await poll("HEAD"); // a poll may wait
		for (on.alive(); ; ) {
			const { messages, gap, since } = await (await poll()).json();
			[{ gap }, ...messages, { since }].forEach(on.hear);
		}
	},
};

const more = (name) => async (...how) => (await import("./encke-more.js"))[name](...how);

async function request(url, { signal }, method, body) {
	const answer = await fetch(url, { signal, method, body, cache: "no-store" });
	if (answer.ok) return answer;
	const { detail = answer.status } = await answer.json().catch(() => answer);
	throw Error(detail, { cause: answer.status });
}

export function subscribe(channels, want = {}) {
	const { url = "/channels/", transports: list = ["websocket", "events", "poll"], last, share = true } = want;
	const place = url + [channels].flat().map(word);
	const key = place + list + last;
	const me = Math.random();
	const life = new AbortController();
	let radio = share && navigator.locks ? new BroadcastChannel(key) : null;
	let cursor = want.since; // had up to here
	let tail = [{ id: cursor }]; // for tabs that join
	let leading, joined, quiet, shown, told, hangUp;

	const call = (f, ...args) => { try { f?.(...args); } catch (e) { reportError(e); } };
	const say = (what) => radio?.postMessage(what);
	const show = (now) => call(want.onstate, (shown = now).state, { ...now, cursor, leading });
	const tell = (now) => say({ now }, show(now));
	const greet = () => say({ hello: me, since: cursor }, (quiet = true));
	const stop = () => hangUp?.((leading = false));

	function take(news) {
		const { id, data, gap, since = data == null && id } = news;
		if (gap && told !== gap.to) {
			told = gap.to;
			if (gap.from > told) cursor = told - 1;
			tail = [{ id: told - 1 }];
			call(want.ongap, gap);
		}
		tail[0].id ??= since || id;
		if (since && !(since < cursor)) cursor = since;
		if (data == null || id <= cursor) return;
		if (id && tail.push(news) > (last ?? 100)) tail.shift();
		cursor = id ?? cursor;
		call(want.onmessage, news);
	}

	async function lead() {
		let at = Math.max(0, list.indexOf(store[list])), failures = 0;
		for (leading = true; leading; ) {
			const transport = list[at];
			let alarm, proven;
			const expect = (ms) => (alarm = setTimeout(hangUp, ms, "silence", clearTimeout(alarm)));
			const on = Object.assign(new AbortController(), {
				alive() {
					expect(6e4); // 2 heartbeats
					if (proven) return (failures = 0);
					proven = store[list] = transport;
					tell({ state: "connected", transport });
				},
				hear(news) {
					if (!leading || on.signal.aborted) return;
					on.alive();
					if (news.to) news = { gap: news };
					say({ news }, take(news));
				},
			});
			const ask = (as) =>
				`${place}?as=${as}` + (cursor >= 0 ? `&since=${cursor}` : last ? `&last=${last}` : "");

			tell({ state: "connecting", transport });
			const error = await new Promise((fail) => {
				hangUp = on.fail = fail;
				expect(4e3 + 1e3 * failures);
				(wires[transport] ?? more(transport))(ask, on).catch(fail);
			});
			on.abort(clearTimeout(alarm));

			const doubt = ++failures % 3 === 0 || transport !== store[list];
			if (doubt) at = (at + 1) % list.length;
			if (!leading || doubt && at && !on.retry) continue;
			const retryIn = on.retry || Math.random() * Math.min(3e4, 1e3 * 2 ** (failures / list.length));
			tell({ state: navigator.onLine ? "waiting" : "offline", transport, retryIn, error });
			await new Promise((done) => {
				hangUp = done;
				if (navigator.onLine) setTimeout(done, retryIn);
			});
		}
	}

	// Who has the lock leads.
	const seize = (steal) =>
		navigator.locks.request(key, { steal }, () => radio && lead()).catch(() => leading && seize(stop()));

	function hearTab({ data: { hello, since, welcome, alone, news, now } }) {
		if (leading && hello) {
			say({ [since < (tail[0].id ?? Infinity) ? "alone" : "welcome"]: hello });
			if (since ?? last) for (const news of tail) if (!(news.id <= since)) say({ news });
			say({ news: { since: cursor }, now: shown });
		}
		if (leading || hello) return;
		quiet = false;
		if (alone === me) radio = radio.close(lead());
		joined ||= welcome === me;
		if (!joined) greet();
		else if (news) take(news);
		if (now) show(now);
	}

	// Sleepers may hold the lock.
	const pulse = setInterval(() => leading || (quiet ? seize(true) : greet()), 2e4);
	for (const type of ["online", "offline"]) addEventListener(type, () => hangUp?.(type), life);
	if (radio) seize(greet((radio.onmessage = hearTab)));
	else lead();

	return {
		get cursor() { return cursor; },

		async publish(channel, body, { event } = {}) {
			const to = url + word(channel) + (event ? `?event=${word(event)}` : "");
			return (await request(to, {}, "POST", body)).json();
		},

		close() {
			life.abort(stop());
			clearInterval(pulse);
			radio = radio?.close();
		},
	};
}

// Reads a job's events with one of the packages that people use, and prints what it was given, one JSON line each.
//
//   node clients.mjs PACKAGE URL TOKEN [BODY]     with BODY a job is created and streamed, else a job's events are read
const [name, url, token, body] = process.argv.slice(2);
const headers = { authorization: `Bearer ${token}`, ...(body ? { "content-type": "application/json" } : {}) };
const print = (event) => console.log(JSON.stringify(event));
const TYPES = [
  "job.queued", "job.starting", "job.running", "job.phase", "job.output", "job.resource", "job.succeeded", "message",
];

const clients = {
  async eventsource() {
    const { EventSource } = await import("eventsource");
    const source = new EventSource(url, {
      fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...headers } }),
    });
    for (const type of TYPES) {
      source.addEventListener(type, (event) => print({ id: event.lastEventId, event: event.type, data: event.data }));
    }
    // It comes back after the last event, as every EventSource does, and the 204 tells it to stay away.
    await new Promise((done) => {
      source.addEventListener("error", () => source.readyState === EventSource.CLOSED && done());
    });
  },
  async "eventsource-parser"() {
    const { EventSourceParserStream } = await import("eventsource-parser/stream");
    const answer = await fetch(url, { method: "POST", headers, body });
    const events = answer.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
    for await (const { id, event, data } of events) print({ id, event, data });
  },
  async "@microsoft/fetch-event-source"() {
    // Written for browsers: it asks these three things of the page, none of which matters here.
    globalThis.window = globalThis;
    globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
    const { fetchEventSource } = (await import("@microsoft/fetch-event-source")).default;
    await fetchEventSource(url, { method: "POST", headers, body, onmessage: print });
  },
};
await clients[name]();

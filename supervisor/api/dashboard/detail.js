// One job, open beside the table: its words, its drawings, its processes, what it holds, and its output as it comes.
import { $, ask, attempt, bytes, clock, h, put, say } from "./dom.js";
import { doing, FINAL, jobs, place, took, TYPES, why } from "./jobs.js";
import { Terminal } from "./terminal.js";
import { drawKill, drawPhases } from "./timeline.js";

const POLL_MS = 2000;
const PHASE_OF = { "job.queued": "queued", "job.starting": "starting", "job.running": "running", "cancel.requested": "cancelling" };

export class Detail {
  /** `changed` is called when there is something new to draw. */
  constructor(id, changed) {
    this.id = id;
    this.changed = changed;
    this.follow = true;
    this.fresh = 0;
    $("stack").hidden = true;
    this.listen();
    this.poll();
    this.poller = setInterval(() => this.poll(), POLL_MS);
  }

  /** The job's own events, from the first; what was shown before is drawn anew. */
  listen() {
    this.source?.close();
    this.terminal = new Terminal($("output"));
    this.steps = [];
    this.phases = [];
    this.ledger = new Map();
    this.drawLedger();
    this.source = new EventSource(`/jobs/${this.id}/events`);
    for (const type of TYPES) this.source.addEventListener(type, ({ data }) => { this.take(JSON.parse(data)); this.changed(); });
  }

  close() {
    this.source.close();
    clearInterval(this.poller);
  }

  take(event) {
    const phase = PHASE_OF[event.type] ?? (event.type === "job.phase" ? event.phase : null);
    if (phase && !(phase !== "cleanup" && this.phases.at(-1)?.name === "cancelling")) this.phases.push({ name: phase, at: Date.parse(event.at) });
    if (event.type === "job.output") { this.terminal.feed(event.text, event.stream); this.fresh += 1; }
    if (event.type.startsWith("cancel.")) this.steps.push(event);
    if (event.type === "job.stuck" && event.stack) this.stack(event.stack, event.at);
    if (event.type === "job.resource") this.hold(event);
    if (FINAL.has(event.type.slice(4))) {
      this.ended = Date.parse(event.at);
      this.source.close();
      this.poll();
    }
  }

  async poll() {
    const job = jobs.get(this.id);
    if (!job || document.hidden || this.polling || (this.full && FINAL.has(this.full.state))) return;
    this.polling = true;
    try {
      this.full = await ask("GET", `/jobs/${this.id}`);
      this.processes = FINAL.has(this.full.state) ? [] : (await ask("GET", `/jobs/${this.id}/processes`)).processes;
      this.drawTree(this.processes);
      this.changed();
    } catch (error) {
      if (!(error instanceof TypeError)) say(error.message); // a server that is away is told of by its light
    } finally {
      this.polling = false;
    }
  }

  /** The last thing that was done with it. */
  hold({ kind, name, action, at }) {
    this.ledger.set(`${kind} ${name}`, { kind, name, action, at });
    this.ledgerChanged = true;
  }

  takeStack(native = false) {
    return attempt(async () => {
      const told = await ask("GET", `/jobs/${this.id}/stack?native=${native}`);
      this.stack(told.stack ?? `No stack: ${told.note}`, told.taken_at);
      $("stack").scrollIntoView({ block: "nearest" });
    });
  }

  stack(text, at) {
    $("stack").hidden = false;
    put($("stack-at"), `at ${clock(at)}, innermost call first`);
    const here = place(text)?.match(/^(.+?):(\d+) in/);
    $("stack-text").replaceChildren(...text.trimEnd().split("\n").flatMap((line) => {
      const hit = here && line.includes(`${here[1]}", line ${here[2]} `);
      return [hit ? h("span", { className: "here", textContent: line }) : line, "\n"];
    }));
  }

  draw() {
    const job = jobs.get(this.id);
    if (!job) return;
    const over = FINAL.has(job.state);
    put($("job-title"), `${job.task} ${job.id}`);
    const state = job.stuck ? "stuck" : job.state;
    $("job-state").className = `pill ${state}`;
    put($("job-state"), state.replace("_", " "));
    const started = job.started_at ? `started ${clock(job.started_at)}` : "not started";
    put($("job-words"), [started, over && !job.started_at ? null : took(job), over || job.stuck ? null : doing(job), this.full?.containment && `containment ${this.full.containment}`].filter(Boolean).join(" · "));
    $("job-stuck").hidden = !job.stuck;
    put($("job-stuck"), job.stuck ? [why(job.stuck), place(job.stuck.stack)].filter(Boolean).join(" — ") : "");
    $("cancel").disabled = over || job.state === "cancelling";
    $("force").disabled = $("curl").disabled = over;
    $("stack-native").hidden = over;
    $("stack-take").disabled = over || job.state === "queued";
    this.drawOutcome(job);
    const goesOn = drawKill(job, this.steps);
    const last = this.phases.at(-1)?.at;
    if (last !== undefined) drawPhases(this.phases, this.ended ?? (over ? last : Date.now()));
    if (this.ledgerChanged) this.drawLedger();
    this.drawOutput();
    if (goesOn) this.changed();
  }

  drawOutcome(job) {
    const text = job.error ? job.error.traceback ?? job.error.message : job.state === "succeeded" ? JSON.stringify(job.result, null, 1) : null;
    $("outcome").hidden = text === null || text === undefined;
    put($("outcome-title"), job.error ? `Error: ${job.error.kind}` : "Result");
    $("outcome").className = job.error ? "failed" : "";
    put($("outcome-text"), text ?? "");
  }

  drawTree(list) {
    $("tree").hidden = list.length === 0;
    if (!list.length) return;
    const depth = new Map();
    for (const row of list) depth.set(row.pid, (depth.get(row.ppid) ?? -1) + 1);
    const home = list[0].session;
    const left = list.filter((row) => row.session !== home).length;
    put($("tree-sum"), [`${list.length}, ${bytes(list.reduce((sum, row) => sum + row.rss_bytes, 0))}`, left ? `⇱ ${left} in a session of their own` : null].filter(Boolean).join(" · "));
    $("processes").replaceChildren(...list.map((row) => this.process(row, home, depth.get(row.pid))));
  }

  process(row, home, depth) {
    const name = depth === 0 && row.session === home ? "the job's Python" : row.cmdline.join(" ") || row.name;
    const mark = row.session === home ? null : h("span", { className: "left", role: "img", textContent: "⇱ ", title: "In a session of its own: a kill of the job's process group would miss it", "aria-label": "in a session of its own" });
    const waits = row.wait_channel && row.status !== "running" ? `: ${row.wait_channel.replace(/\.(constprop|isra|part)\..*/, "")}` : "";
    return h("tr", {},
      h("td", { className: "cmd", title: row.cmdline.join(" ") }, mark, `${"  ".repeat(depth)}${row.pid} ${name}`),
      h("td", { className: /stopped|zombie|disk/.test(row.status) ? "doing stopped" : "doing", textContent: `${row.status}${waits}` }),
      h("td", { className: "number", textContent: `${Math.round(row.cpu_percent)} %` }), h("td", { className: "number", textContent: bytes(row.rss_bytes) }));
  }

  /** What it holds comes first. A name inside the job's own folder is told without that folder. */
  drawLedger() {
    this.ledgerChanged = false;
    const list = [...this.ledger.values()];
    $("ledger").hidden = list.length === 0;
    const folder = list.find((entry) => entry.kind === "directory" && entry.name.endsWith(`/${this.id}`))?.name;
    const short = ({ kind, name }) => (name === folder ? "its workspace" : `${kind} ${folder && name.startsWith(`${folder}/`) ? name.slice(folder.length + 1) : name}`);
    const held = list.filter((entry) => entry.action === "acquired");
    const rest = list.filter((entry) => entry.action !== "acquired");
    put($("ledger-sum"), `${held.length} held, ${rest.length} given back or removed`);
    $("resources").replaceChildren(...[...held, ...rest].map((entry) => h("li", { className: entry.action === "acquired" ? "" : "gone" },
      h("span", { textContent: short(entry), title: entry.name }), h("span", { textContent: `${entry.action} ${clock(entry.at)}` }))));
  }

  drawOutput() {
    const box = $("output");
    this.terminal.draw();
    box.classList.toggle("nothing", this.terminal.empty);
    if (this.follow) { box.scrollTop = box.scrollHeight; this.fresh = 0; }
    $("follow").hidden = this.follow;
    put($("follow"), this.fresh ? "paused, there is more · go to the end" : "paused · go to the end");
  }
}

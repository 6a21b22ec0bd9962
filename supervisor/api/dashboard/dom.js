// Small things that every part of the page uses: elements, words for numbers, and asking the server.

export const $ = (id) => document.getElementById(id);

export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && !name.startsWith("aria")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function svg(tag, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** Set an element's text, unless it has it already: what is selected stays selected, nothing is read out twice. */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Say what went wrong where nobody can miss it; nothing: take it away. */
export function say(message) {
  $("said").hidden = !message;
  put($("said-words"), message ?? "");
}

/** For those who listen to the page. */
export const announce = (words) => { $("announce").textContent = words; };

export const ms = (value) => (value === null || value === undefined ? "–" : value < 999.5 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(2)} s`);
export const since = (iso) => (iso ? Date.now() - Date.parse(iso) : 0);
const CLOCK = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }); // costly to make
export const clock = (iso) => (iso ? CLOCK.format(new Date(iso)) : "–");
export const bytes = (n) => (n >= 1 << 30 ? `${(n / (1 << 30)).toFixed(1)} GiB` : n >= 1 << 20 ? `${Math.round(n / (1 << 20))} MiB` : `${Math.round(n / 1024)} KiB`);

export function age(milliseconds) {
  const s = Math.max(0, Math.floor(milliseconds / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

/** One request. Throws an Error with the server's words, and a TypeError when there is no server. A list of stuck jobs is an
    answer, although its status is 503 for monitors. */
export async function ask(method, path, body) {
  const answer = await fetch(path, {
    method,
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (answer.status === 401) location.reload(); // the server then shows its sign-in page
  if (answer.status === 204) return null;
  const told = await answer.json();
  if (!answer.ok && !("stuck" in told)) throw new Error(told.detail ?? told.title ?? `the server answered ${answer.status}`);
  return told;
}

export async function attempt(action) {
  try {
    await action();
    say("");
  } catch (error) {
    say(error instanceof TypeError ? "The server does not answer." : error.message);
  }
}

export async function copy(text, control) {
  try {
    await navigator.clipboard.writeText(text);
    const before = control.textContent;
    control.textContent = "Copied";
    announce("copied");
    setTimeout(() => { control.textContent = before; }, 1500);
  } catch {
    prompt("Copy this", text); // a page on plain HTTP of another machine has no clipboard
  }
}

// What a terminal would show of a job's output: carriage returns, erasing, moving, colours; other sequences are left out.
import { h } from "./dom.js";

const MAX_LINES = 2000;
const MAX_COLUMNS = 4000;
const SCREEN_ROWS = 24; // as many as a job's own terminal has
const SEQUENCES = /\x1b\[([0-9;?]*)([A-Za-z@~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]|\x1b.|[\r\n\b\t]|[^\x1b\r\n\b\t]+/gs;
const TORN = /\x1b(?:\][^\x07\x1b]{0,500}\x1b?|\[[0-9;?]{0,64}|[()])?$/; // a sequence whose end is in the next event

export class Terminal {
  constructor(box) {
    this.box = box;
    this.lines = [];
    this.touched = new Set();
    this.rest = "";
    this.style = "";
    this.row = 0;
    this.column = 0;
    this.top = 0; // the line where the screen begins that is written to by addresses
    box.replaceChildren();
    this.reach(0);
  }

  get empty() { return this.lines.length === 1 && this.current.cells.length === 0; }
  get current() { return this.lines[this.row]; }

  /** Go to a line, which is made if there is none yet. */
  reach(row) {
    while (this.lines.length <= row) {
      const line = { cells: [], element: h("div") };
      this.lines.push(line);
      this.box.append(line.element);
      if (this.lines.length > MAX_LINES) {
        this.lines.shift().element.remove();
        row -= 1;
        this.top = Math.max(0, this.top - 1);
      }
    }
    this.row = Math.max(0, row);
  }

  feed(text, stream) {
    text = this.rest + text;
    const cut = TORN.exec(text);
    this.rest = cut ? cut[0] : "";
    if (cut) text = text.slice(0, cut.index);
    for (const [part, parameters, final] of text.matchAll(SEQUENCES)) {
      if (final) this.control(final, parameters);
      else if (part === "\n") { this.reach(this.row + 1); this.column = 0; }
      else if (part === "\r") this.column = 0;
      else if (part === "\b") this.column = Math.max(0, this.column - 1);
      else if (part === "\t") this.write(" ".repeat(8 - (this.column % 8)), stream);
      else if (!part.startsWith("\x1b")) this.write(part.replace(/[\x00-\x1f\x7f]/g, ""), stream);
    }
  }

  control(final, parameters) {
    if (parameters.startsWith("?")) return; // modes of a screen that we do not have
    const [first, second] = parameters.split(";").map((n) => Math.min(Number(n) || 0, 1000));
    const by = Math.max(1, first);
    switch (final) {
      case "m": this.colour(parameters); break;
      case "K": this.erase(first); break;
      case "J": this.clear(first); break;
      case "A": this.row = Math.max(this.screen(), this.row - by); break;
      case "B": this.row = Math.min(this.lines.length - 1, this.row + by); break;
      case "C": this.column += by; break;
      case "D": this.column = Math.max(0, this.column - by); break;
      case "G": this.column = by - 1; break;
      case "H": case "f": this.reach(this.screen() + Math.min(by, SCREEN_ROWS * 4) - 1); this.column = Math.max(1, second ?? 1) - 1; break;
    }
  }

  screen() { return Math.max(this.top, this.lines.length - SCREEN_ROWS, 0); }

  write(text, stream) {
    const style = `${this.style}${stream === "stderr" ? " stderr" : ""}`.trim();
    const { cells } = this.current;
    for (const letter of text) {
      if (this.column > MAX_COLUMNS) break;
      while (cells.length < this.column) cells.push([" ", ""]);
      cells[this.column++] = [letter, style];
    }
    this.touched.add(this.current);
  }

  erase(which) {
    const { cells } = this.current;
    if (which === 0) cells.length = Math.min(cells.length, this.column);
    else if (which === 1) cells.fill([" ", ""], 0, Math.min(cells.length, this.column + 1));
    else cells.length = 0;
    this.touched.add(this.current);
  }

  /** What was on the screen is kept above it when all of it is cleared: it may be the only trace of what happened. */
  clear(which) {
    if (which === 0) {
      this.erase(0);
      for (const line of this.lines.splice(this.row + 1)) line.element.remove();
    } else if (which >= 2 && this.lines.slice(this.screen()).some((line) => line.cells.length)) {
      this.reach(this.lines.length);
      this.top = this.row;
    }
  }

  colour(parameters) {
    const codes = (parameters || "0").split(";").map(Number);
    const words = new Set(this.style.split(" ").filter(Boolean));
    const paint = (name) => { for (const word of [...words]) if (/^c\d$/.test(word)) words.delete(word); if (name) words.add(name); };
    for (let index = 0; index < codes.length; index += 1) {
      const code = codes[index];
      if (code === 0) words.clear();
      else if (code === 1) words.add("bold");
      else if (code === 2) words.add("dim");
      else if (code === 22) { words.delete("bold"); words.delete("dim"); }
      else if (code >= 30 && code <= 37) paint(`c${code - 30}`);
      else if (code >= 90 && code <= 97) paint(`c${code - 90}`);
      else if (code === 39) paint(null);
      else if (code === 38 || code === 48) { // palettes: the first sixteen are the ones above, the rest is left as it was
        if (code === 38 && codes[index + 1] === 5 && codes[index + 2] < 16) paint(`c${codes[index + 2] % 8}`);
        index += codes[index + 1] === 5 ? 2 : 4;
      }
    }
    this.style = [...words].join(" ");
  }

  draw() {
    for (const line of this.touched) {
      const runs = [];
      for (const [letter, style] of line.cells) {
        if (runs.length && runs.at(-1)[1] === style) runs.at(-1)[0] += letter;
        else runs.push([letter, style]);
      }
      line.element.replaceChildren(...runs.map(([text, style]) => (style ? h("span", { className: style, textContent: text }) : text)));
    }
    this.touched.clear();
  }
}

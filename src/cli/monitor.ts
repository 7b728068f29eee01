/**
 * `cortexd monitor`: the terminal dashboard. The daemon pushes a sample a second; the rows in view are read again when a
 * sample shows that something changed, and after what is done here. What it looks like is screen.ts.
 */
import { CoordinationClient } from "../../client/client.ts";
import type { RestClient } from "../../client/rest.ts";
import type { Stats } from "../wire/stats.ts";
import { taskStates } from "../wire/tasks.ts";
import { type Address, command } from "./command.ts";
import { rest } from "./daemon.ts";
import { Exit } from "./exit.ts";
import type { Output } from "./output.ts";
import { idOf, type Look, type Model, placeOf, screen, sorted, sorts, type View, views } from "./screen.ts";
import { endAsked, onSignals } from "./signals.ts";
import { version } from "./version.ts";
import { plural } from "./words.ts";

export const monitor = command({
  summary: "Watch the daemon in a terminal: rates, times, queues, workers, tasks; and steer it by keys.",
  arguments: [],
  options: {
    view: {
      type: "choice",
      choices: views,
      default: "queues",
      help: "What is listed first. (default queues)",
    },
  },
  client: true,
  json: "a line a sample (NDJSON), each second, until it is stopped; needs no terminal.",
  examples: [
    { words: "monitor", meaning: "Over ssh as well; ? lists the keys." },
    { words: "monitor --view workers", meaning: "The busiest workers first, as top does." },
    { words: "monitor --json | jq -c '[.at, .tasks.queued]'", meaning: "The figures for a program." },
  ],
  async run({ values, to, out }) {
    // Says at once what would else be tried again and again: that there is no daemon, or that it lets nobody in.
    await rest(to).state();
    if (!out.json && !(process.stdin.isTTY && process.stdout.isTTY))
      throw new Exit(
        "usage",
        "there is no terminal to draw on",
        "Use `cortexd status`, or `cortexd monitor --json` for programs.",
      );
    const client = new CoordinationClient({ ...to, client: `cortexd-monitor/${version}` });
    try {
      if (out.json) await samplesTo(client, out);
      else await new Monitor(client, rest(to), to, out, values.view).run();
    } finally {
      client.close();
    }
    return undefined;
  },
});

/** How much of the time before is drawn. */
const historyMs = 120_000;

async function samplesTo(client: CoordinationClient, out: Output): Promise<void> {
  const signal = endAsked();
  client.on("error", () => {});
  for await (const sample of client.stats({ signal })) await out.value(sample);
}

/** A key each, those that begin with an escape too. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: keys are control characters
const key = /\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Za-z]|[\s\S]/gu;
const moves: Record<string, number> = {
  "\x1b[A": -1,
  "\x1bOA": -1,
  k: -1,
  "\x1b[B": 1,
  "\x1bOB": 1,
  j: 1,
  "\x1b[5~": -10,
  "\x1b[6~": 10,
  "\x1b[H": Number.NEGATIVE_INFINITY,
  "\x1b[1~": Number.NEGATIVE_INFINITY,
  "\x1b[F": Number.POSITIVE_INFINITY,
  "\x1b[4~": Number.POSITIVE_INFINITY,
};
/** Ctrl-C and Ctrl-D. */
const quitting: ReadonlySet<string> = new Set(["\x03", "\x04"]);
const rowsMax = 1000;

class Monitor {
  readonly #model: Model;
  readonly #quit = Promise.withResolvers<void>();
  /** What was drawn last, so that a line that did not change is not sent again. */
  #drawn: string[] = [];
  #reading = false;
  #readAgain = false;
  #readAt = -1;
  #onYes: (() => Promise<string>) | null = null;

  constructor(
    private readonly client: CoordinationClient,
    private readonly daemon: RestClient,
    { url, namespace }: Address,
    private readonly out: Output,
    view: View,
  ) {
    this.#model = {
      ...{ url, namespace: namespace ?? "default", version: null, cut: "connecting", samples: [] },
      ...{ view, filter: null, chosen: null, said: null, asking: null, help: false, now: out.now() },
      sort: { queues: sorts.queues[0], workers: sorts.workers[0], tasks: sorts.tasks[0] },
      rows: { queues: null, workers: null, tasks: null },
    };
  }

  async run(): Promise<void> {
    const { stdin, stdout } = process;
    const input = (text: string) => {
      for (const [one] of text.matchAll(key)) this.#key(one);
    };
    const redraw = () => {
      this.#drawn = [];
      this.#draw();
    };
    const quit = () => this.#quit.resolve();
    const forget = onSignals(quit);
    stdin.setEncoding("utf8");
    stdin.setRawMode(true);
    stdin.on("data", input);
    stdin.on("end", quit);
    stdout.on("resize", redraw);
    stdout.write("\x1b[?1049h\x1b[?25l");
    try {
      this.#draw();
      this.#listen();
      await this.#quit.promise;
    } finally {
      stdout.off("resize", redraw);
      stdin.off("data", input);
      stdin.setRawMode(false);
      stdin.pause();
      stdout.write("\x1b[?25h\x1b[?1049l");
      forget();
    }
  }

  #listen(): void {
    const { client } = this;
    const model = this.#model;
    client.on("error", (error) => this.#say(`${error instanceof Error ? error.message : error}`, true));
    client.on("connected", ({ server, transport }) => {
      model.version = server.split("/").at(-1)!;
      model.cut = transport === "websocket" ? null : "no WebSocket: figures wait for one";
      this.#changed();
    });
    client.on("disconnected", () => {
      model.cut = "disconnected: trying again";
      this.#draw();
    });
    const follow = async () => {
      for await (const sample of client.stats({ historyMs })) this.#sampled(sample);
    };
    follow().then(this.#quit.resolve, this.#quit.reject);
    this.#read();
  }

  #sampled(sample: Stats): void {
    const { samples } = this.#model;
    samples.push(sample);
    while (samples[0]!.at < sample.at - historyMs) samples.shift();
    if (sample.revision !== this.#readAt) this.#read();
    this.#draw();
  }

  /** Reads the rows in view, and once more if that is asked while it does. */
  #read(): void {
    this.#readAgain = this.#reading;
    if (this.#reading) return;
    this.#reading = true;
    const { samples, view } = this.#model;
    this.#readAt = samples.at(-1)?.revision ?? -1;
    this.#rows(view)
      .catch((error: Error) => this.#say(error.message, true))
      .finally(() => {
        this.#reading = false;
        if (this.#readAgain) this.#read();
        this.#draw();
      });
  }

  async #rows(view: View): Promise<void> {
    const { rows, filter } = this.#model;
    if (view === "queues") rows.queues = (await this.daemon.queues({ limit: rowsMax })).queues;
    else if (view === "workers") rows.workers = (await this.daemon.workers({ limit: rowsMax })).workers;
    else {
      const state = filter === null ? {} : { state: filter };
      const { tasks } = await this.daemon.tasks({ limit: 200, ...state });
      // Another filter may have been chosen meanwhile.
      if (this.#model.filter === filter) rows.tasks = tasks;
    }
  }

  #changed(): void {
    this.#read();
    this.#draw();
  }

  #say(text: string, isError = false): void {
    this.#model.said = { text, colour: isError ? "red" : "green" };
    this.#draw();
  }

  #draw(): void {
    const { stdout } = process;
    const look: Look = {
      columns: stdout.columns || 80,
      rows: stdout.rows || 24,
      colours: this.out.terminal.colours,
      unicode: speaksUnicode(process.env),
    };
    this.#model.now = this.out.now();
    const lines = screen(this.#model, look);
    const before = this.#drawn;
    const changed = lines
      .map((line, i) => (line === before[i] ? "" : `\x1b[${i + 1};1H${line}\x1b[K`))
      .join("");
    if (changed === "") return;
    this.#drawn = lines;
    stdout.write(before.length === 0 ? `\x1b[2J${changed}` : changed);
  }

  // ------------------------------------------------------------------------------------------------- the keys

  #key(pressed: string): void {
    const model = this.#model;
    model.said = null;
    const carryOut = this.#onYes;
    this.#onYes = null;
    if (quitting.has(pressed) || (pressed === "q" && !model.help && model.asking === null))
      this.#quit.resolve();
    else if (model.asking !== null) {
      model.asking = null;
      if (pressed === "y" && carryOut !== null) this.#do(carryOut);
    } else if (model.help) model.help = false;
    else if (pressed === "?") model.help = true;
    else if (pressed in moves) this.#move(moves[pressed]!);
    else if (pressed === "\t") this.#show(views[(views.indexOf(model.view) + 1) % views.length]!);
    else if (/^[1-3]$/.test(pressed)) this.#show(views[Number(pressed) - 1]!);
    else if (pressed === "s") {
      const list: readonly string[] = sorts[model.view];
      model.sort[model.view] = list[(list.indexOf(model.sort[model.view]) + 1) % list.length]!;
    } else if (pressed === "f" && model.view === "tasks") {
      const list = [null, ...taskStates];
      model.filter = list[(list.indexOf(model.filter) + 1) % list.length]!;
      model.rows.tasks = null;
      this.#read();
    } else this.#act(pressed);
    this.#draw();
  }

  #show(view: View): void {
    this.#model.view = view;
    this.#model.chosen = null;
    this.#read();
  }

  #move(by: number): void {
    const rows = sorted(this.#model);
    if (rows === null || rows.length === 0) return;
    const to = placeOf(rows, this.#model.chosen) + by;
    this.#model.chosen = idOf(rows[Math.min(rows.length - 1, Math.max(0, to))]!);
  }

  /** What a key does to the chosen row; without one to the first. */
  #act(pressed: string): void {
    const model = this.#model;
    const rows = sorted(model);
    const row = rows?.[placeOf(rows, model.chosen)];
    if (row === undefined) return;
    const { daemon } = this;
    const name = idOf(row);
    model.chosen = name;
    if ("counts" in row) {
      const ended = row.counts.dead + row.counts.failed;
      if (pressed === "p" && row.paused === null)
        this.#do(async () => `${(await daemon.pause(name, { reason: "from the monitor" })).name} is paused`);
      else if (pressed === "p") this.#do(async () => `${(await daemon.resume(name)).name} goes on`);
      else if (pressed === "r" && ended > 0)
        this.#ask(`Retry ${plural(ended, "dead or failed task")} of ${name}?`, () => this.#retryAll(name));
      else if (pressed === "r") this.#say(`${name} has no dead or failed tasks`);
    } else if ("capacity" in row) {
      const drains = row.state !== "draining";
      if (pressed === "d") this.#do(async () => `${name} is ${(await daemon.drain(name, drains)).state}`);
    } else if (pressed === "r") this.#do(async () => `${name} is ${(await daemon.retry(name)).state}`);
    else if (pressed === "c")
      this.#ask(
        `Cancel ${name}?`,
        async () => `${name} is ${(await daemon.cancel(name, "from the monitor")).state}`,
      );
  }

  async #retryAll(queue: string): Promise<string> {
    let done = 0;
    for (const state of ["dead", "failed"] as const)
      done += (await this.client.bulk.retry({ filter: { queue, state } })).count;
    return `${plural(done, "task")} of ${queue} queued again`;
  }

  #ask(question: string, carryOut: () => Promise<string>): void {
    this.#model.asking = question;
    this.#onYes = carryOut;
  }

  #do(carryOut: () => Promise<string>): void {
    carryOut().then(
      (said) => {
        this.#say(said);
        this.#read();
      },
      (error: Error) => this.#say(error.message, true),
    );
  }
}

/** As the locale says; blocks are drawn of plain characters elsewhere. */
function speaksUnicode(environment: Record<string, string | undefined>): boolean {
  const { LC_ALL, LC_CTYPE, LANG } = environment;
  return /utf-?8/i.test(LC_ALL || LC_CTYPE || LANG || "");
}

/** beanstalkd, by its own protocol: put, reserve, delete. No results. */
import { connect, type Socket } from "node:net";
import { freePort, type System, startServer } from "./system.ts";

/** Answers come in the order of the commands; a reserved job's body comes with its answer. */
class Talk {
  readonly #socket: Socket;
  readonly #waiting: ((answer: { words: string[]; body: string }) => void)[] = [];
  #text = "";

  constructor(port: number) {
    this.#socket = connect(port, "127.0.0.1");
    this.#socket.setNoDelay(true);
    this.#socket.setEncoding("latin1");
    this.#socket.on("data", (text: string) => this.#read(text));
  }

  say(command: string): Promise<{ words: string[]; body: string }> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#socket.write(command);
    });
  }

  end(): void {
    this.#socket.destroy();
  }

  #read(text: string): void {
    this.#text += text;
    for (;;) {
      const end = this.#text.indexOf("\r\n");
      if (end === -1) return;
      const words = this.#text.slice(0, end).split(" ");
      const bodyLength = words[0] === "RESERVED" ? Number(words[2]) + 2 : 0;
      if (this.#text.length < end + 2 + bodyLength) return;
      const body = this.#text.slice(end + 2, end + bodyLength);
      this.#text = this.#text.slice(end + 2 + bodyLength);
      this.#waiting.shift()!({ words, body });
    }
  }
}

export const beanstalkd: System = {
  name: "beanstalkd",
  settings: { synced: "-b FOLDER -f 0", relaxed: "-b FOLDER -f 1000" },
  program: "beanstalkd",
  async start(setting, folder) {
    const port = await freePort();
    const sync = ["-f", setting === "synced" ? "0" : "1000"];
    const command = ["beanstalkd", "-l", "127.0.0.1", "-p", String(port), "-b", folder, ...sync];
    const server = await startServer(command, port);
    const producer = new Talk(port);
    const talks = [producer];
    return {
      async submit(payload) {
        const { words } = await producer.say(`put 1000 0 60 ${payload.length}\r\n${payload}\r\n`);
        if (words[0] !== "INSERTED") throw new Error(`beanstalkd answered ${words}`);
      },
      async work(concurrency, begun, done) {
        // A connection that waits can do nothing else, so each worker has its own.
        for (let i = 0; i < concurrency; i++) {
          const talk = new Talk(port);
          talks.push(talk);
          void (async () => {
            for (;;) {
              const { words, body } = await talk.say("reserve\r\n");
              begun(body);
              await talk.say(`delete ${words[1]}\r\n`);
              done(body);
            }
          })();
        }
      },
      async stop() {
        for (const talk of talks) talk.end();
        await server.stop();
      },
    };
  },
};

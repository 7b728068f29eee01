/**
 * What goes wrong in the simulated world: when, how often and how badly is drawn from the seed. Each seed has its own
 * mix of troubles, so that rare combinations come up, and calm ones too.
 */
import type { Cast } from "./cast.ts";
import type { Daemon } from "./daemon.ts";
import type { Disk } from "./disk.ts";
import type { Network } from "./network.ts";
import type { World } from "./world.ts";

const troubles = [
  ...(["kill", "killAtCall", "killAtFrame", "pause", "stop", "wall", "full", "fail", "slowDisk"] as const),
  ...(["reset", "halfOpen", "partition", "repeat", "deaf", "noSockets"] as const),
];
type Trouble = (typeof troubles)[number];

export class Chaos {
  readonly #mix: Trouble[];
  readonly #everyMs: number;
  #ended = false;
  #powers: boolean;

  constructor(
    readonly world: World,
    readonly daemon: Daemon,
    readonly disk: Disk,
    readonly network: Network,
    readonly cast: Cast,
  ) {
    const { random } = world;
    const share = random.pick([0.25, 0.5, 1]);
    this.#mix = troubles.filter(() => random.chance(share));
    this.#everyMs = random.pick([800, 2500, 6000]);
    this.#powers = random.chance(0.6);
    network.lossy = random.pick([0, 0.03, 0.25]);
    network.slowestMs = random.pick([3, 40, 400, 2000]);
    disk.slowestMs = random.pick([1, 5, 60]);
  }

  start(): void {
    const { world, daemon } = this;
    const next = () => {
      if (this.#ended) return;
      if (this.#mix.length > 0) this.#strike(world.random.pick(this.#mix));
      world.after(world.random.between(1, 2 * this.#everyMs), next);
    };
    world.after(world.random.between(500, 2 * this.#everyMs), next);
    // Whoever looks after the daemon starts it again.
    const revive = () => {
      if (daemon.life === null) daemon.start();
      world.after(world.random.skewed(20, 3000), revive);
    };
    revive();
    if (this.#mix.includes("repeat")) this.#repeatRequests();
  }

  end(): void {
    this.#ended = true;
    const { daemon, disk, network } = this;
    daemon.killAtCall = 0;
    daemon.killAtFrame = 0;
    disk.isFull = false;
    disk.failsNext = false;
    disk.slowestMs = 2;
    network.heal();
    for (const process of this.cast.processes) if (process.paused) process.resume();
  }

  #strike(trouble: Trouble): void {
    const { world, daemon, disk, network } = this;
    const { random } = world;
    world.count(`trouble.${trouble}`);
    switch (trouble) {
      case "kill":
        daemon.kill(this.#powers && random.chance(0.6));
        return;
      case "killAtCall":
        daemon.killPower = this.#powers && random.chance(0.6);
        daemon.killAtCall = random.int(1, 40);
        return;
      case "killAtFrame":
        daemon.killPower = this.#powers && random.chance(0.6);
        daemon.killAtFrame = random.int(1, 20);
        return;
      case "pause":
        daemon.pause(random.skewed(50, 20_000));
        return;
      case "stop":
        daemon.stop(() => {});
        return;
      case "wall": {
        // Back only where the revisions do not come from the wall clock.
        const back = daemon.preset !== "development" && random.chance(0.4);
        const hour = random.chance(0.2) ? 3_600_000 : 0;
        world.wallShift += (hour + random.skewed(10, 30_000)) * (back ? -1 : 1);
        world.wallWentBack ||= back;
        world.trace("wall", String(world.wallShift));
        return;
      }
      case "full":
        disk.isFull = true;
        world.after(random.skewed(5, 6000), () => {
          disk.isFull = false;
        });
        return;
      case "fail":
        disk.failsNext = true;
        return;
      case "slowDisk": {
        const usual = disk.slowestMs;
        disk.slowestMs = random.between(50, 3000);
        world.after(random.between(100, 4000), () => {
          disk.slowestMs = Math.min(disk.slowestMs, usual);
        });
        return;
      }
      case "reset":
      case "halfOpen": {
        const links = [...network.links];
        if (links.length === 0) return;
        const link = random.pick(links);
        world.trace("break", link.client.name);
        if (trouble === "reset") link.break("soon", "soon");
        else link.break(random.chance(0.5) ? "soon" : "late", random.chance(0.3) ? "soon" : "late");
        return;
      }
      case "deaf": {
        const links = [...network.links];
        if (links.length > 0) random.pick(links).deafUntil = world.now + random.between(200, 5000);
        return;
      }
      case "partition":
        for (const process of this.cast.processes)
          if (random.chance(0.4)) network.cut(process, random.skewed(100, 12_000));
        return;
      case "noSockets":
        for (const process of this.cast.processes) {
          if (!random.chance(0.5)) continue;
          const ever = random.chance(0.15);
          network.noSockets(process, ever ? Number.POSITIVE_INFINITY : random.skewed(2000, 30_000));
          for (const link of [...network.links])
            if (link.client === process && random.chance(0.9))
              link.break("soon", random.chance(0.5) ? "soon" : "late");
        }
        return;
      case "repeat":
    }
  }

  /** A request of the past arrives once more, at any later time, as a proxy may send it. */
  #repeatRequests(): void {
    const { world, daemon } = this;
    daemon.onRequest = (operation, input, caller, engine) => {
      if (caller.session === null || this.#ended || !world.random.chance(0.06)) return;
      const { signal: _, ...again } = caller;
      const key = `${caller.session}/${caller.seq}`;
      world.after(world.random.skewed(0.01, 15_000), () => {
        // Only what was carried out: the sender of a refused request may have told the world that it was.
        if (this.#ended || !daemon.model.wasAnswered(key)) return;
        if (daemon.life?.engine !== engine && world.random.chance(0.5)) return;
        world.count("request.duplicated");
        daemon.http(operation as "task.submit", input, again, () => {});
      });
    };
  }
}

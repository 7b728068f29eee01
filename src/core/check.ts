/**
 * The invariants of the whole state, checked from the tables alone against everything that is derived. It walks
 * all there is: for the simulator, tests and `verify`, never for a running daemon. Returns what is wrong, in
 * words; an empty list is a sound state.
 */
import { fits as fitsTopic, Topics } from "../lib/topics.ts";
import { limits } from "../wire/limits.ts";
import { type OnFail, priorities, taskStates } from "../wire/tasks.ts";
import { encodeEntry } from "./codec.ts";
import type { Coordinator } from "./coordinator.ts";
import { endsAt } from "./expiry.ts";
import { sizeOfFailures } from "./failures.ts";
import type { Gate } from "./gates.ts";
import { isOpen } from "./graphs.ts";
import { byAge, rowOf } from "./ids.ts";
import { deliveryKey, type Entry, type Kept, type MessageRecord, messageIdOf, toAll } from "./inboxes.ts";
import type { Lane, Stream } from "./lanes.ts";
import type { LockRecord } from "./locks.ts";
import { logSize } from "./logs.ts";
import { fits, Offer } from "./offers.ts";
import { unlinked } from "./options.ts";
import { nextRun } from "./schedules.ts";
import type { Slot } from "./slots.ts";
import { isFinal, specOrder, type TaskRecord } from "./tasks.ts";
import { holdsKey } from "./unique.ts";

export function check(core: Coordinator): string[] {
  const wrong: string[] = [];
  const expect = (holds: boolean, message: string) => {
    if (!holds) wrong.push(message);
  };

  const counts: Record<string, number> = Object.fromEntries(taskStates.map((state) => [state, 0]));
  const queued = new Map<string, TaskRecord[]>();
  const finished = new Map<string, TaskRecord[]>();
  const running = new Map<string, Set<string>>();
  const leases = new Set<string>();
  let unfinished = 0;
  let ending = 0;

  for (const [id, record] of core.tasks.entries()) {
    const { spec, state, lease } = record;
    const { finishedAt } = record.outcome;
    const { queue, attempts } = spec.options;
    counts[state] = (counts[state] ?? 0) + 1;
    if (!isFinal(state)) unfinished += 1;
    expect(spec.id === id, `task ${id} is kept under another id (${spec.id})`);
    expect(record.revision <= core.store.revision, `task ${id} is newer than the store`);
    expect(record.attempt >= 0 && record.attempt <= attempts, `task ${id} has ${record.attempt} attempts`);
    expect((state === "scheduled") === record.runAt > 0, `task ${id} is ${state} with runAt ${record.runAt}`);
    expect(isFinal(state) === finishedAt > 0, `task ${id} is ${state} with finishedAt ${finishedAt}`);
    const endAt = endsAt(record);
    expect(
      (core.expiry.placeOf(id) ?? Number.POSITIVE_INFINITY) === endAt,
      `task ${id} ends by the clock at ${endAt}, not ${core.expiry.placeOf(id)}`,
    );
    if (endAt < Number.POSITIVE_INFINITY) ending += 1;
    if (state === "queued") push(queued, queue, record);
    if (isFinal(state) && !core.graphs.isNeeded(spec)) push(finished, queue, record);
    if (state === "running") {
      expect(lease !== null && lease.token > 0, `task ${id} runs without a lease`);
      if (lease === null) continue;
      const named = `${id}/${lease.token}`;
      expect(!leases.has(named), `two leases ${named}`);
      leases.add(named);
      const worker = lease.workerId;
      expect(core.workers.has(worker), `task ${id} runs on ${worker}, which is not registered`);
      const held = running.get(worker) ?? new Set();
      running.set(worker, held.add(id));
    }
  }

  for (const [id, failures] of core.errors.entries()) {
    expect(core.tasks.has(id), `errors of task ${id} are kept, which is gone`);
    expect(
      failures.length > 0 &&
        failures.length <= limits.errorsPerTaskMax &&
        sizeOfFailures(failures) <= limits.errorUnitsPerTaskMax,
      `task ${id} has ${failures.length} errors of ${sizeOfFailures(failures)} units`,
    );
  }

  for (const id of core.logs.ids()) {
    expect(core.tasks.has(id), `the log of task ${id} is kept, which is gone`);
    const pieces = core.logs.of(id);
    const { lines, units } = logSize(pieces.slice(1));
    expect(
      lines < limits.logLinesMax && units < limits.logUnitsMax,
      `task ${id} has a log of ${lines} lines and ${units} units beside its oldest piece`,
    );
    let next = pieces[0]?.first;
    for (const { first, lines } of pieces) {
      expect(first === next, `the log of task ${id} has a gap before ${first}`);
      next = first + lines.length;
    }
  }

  let holders = 0;
  for (const record of core.tasks.values()) {
    if (!holdsKey(record)) continue;
    holders += 1;
    expect(core.holders.has(record), `task ${record.spec.id} is unique, and does not have its key`);
  }
  expect(core.holders.size === holders, `${core.holders.size} keys are held, by ${holders} tasks`);
  for (const [key, row] of core.uniques.entries())
    expect(row.key === key, `the key ${key} is kept under another name`);

  for (const state of taskStates)
    expect(
      core.queues.counts[state] === counts[state],
      `${core.queues.counts[state]} ${state}, ${counts[state]} kept`,
    );
  expect(core.limits.unfinished === unfinished, `unfinished ${core.limits.unfinished}, ${unfinished} kept`);

  expect(core.expiry.size === ending, `${core.expiry.size} tasks end by the clock, not ${ending}`);

  const offers = new Map<Slot, Offer>();
  for (const slot of core.dispatch.slots()) offers.set(slot, new Offer(slot.record));
  const inLanes = new Map<string, string[]>();
  for (const lane of core.dispatch.lanes()) {
    const { name } = lane.queue;
    const specs = [...lane.streams.values()].flatMap((stream) => stream.specs());
    for (const stream of lane.streams.values()) checkStream(stream, expect);
    inLanes.set(name, [...(inLanes.get(name) ?? []), ...specs.map((spec) => spec.id)]);
    checkLane(core, lane, offers, expect);
  }
  for (const [queue, records] of queued) {
    const ids = records.map((record) => record.spec.id).sort();
    expect(
      same(ids, (inLanes.get(queue) ?? []).sort()),
      `queue ${queue}: its lanes do not hold its queued tasks`,
    );
    inLanes.delete(queue);
  }
  for (const [queue, ids] of inLanes)
    expect(ids.length === 0, `queue ${queue}: lanes hold ${ids.length} tasks too many`);
  checkFlow(core, expect);
  checkGraphs(core, expect);
  for (const [queue, records] of finished) {
    const ids = records
      .sort((a, b) => a.revision - b.revision || specOrder(a.spec, b.spec))
      .map((one) => one.spec.id);
    const kept = core.queues.finishedOf(queue).map((one) => one.spec.id);
    expect(same(ids, kept), `queue ${queue}: its order of finished tasks is wrong`);
  }

  for (const state of ["failed", "dead"] as const) {
    const ids = [...core.tasks.values()].filter((record) => record.state === state).map(({ spec }) => spec);
    const kept: string[] = [];
    core.queues.look(
      { state },
      Number.POSITIVE_INFINITY,
      () => false,
      ({ spec }) => kept.push(spec.id),
    );
    expect(
      same(
        ids
          .sort(specOrder)
          .map(({ id }) => id)
          .reverse(),
        kept,
      ),
      `the order of ${state} tasks is wrong`,
    );
  }

  for (const [id, record] of core.workers.entries()) {
    const slot = core.dispatch.slot(id);
    expect(slot !== undefined && slot.record === record, `worker ${id} has no slot, or an old one`);
    if (slot === undefined) continue;
    expect(
      same([...slot.running].map((spec) => spec.id).sort(), [...(running.get(id) ?? [])].sort()),
      `worker ${id}: wrong set of leases`,
    );
    checkSlot(slot, expect);
  }
  let due = 0;
  for (const [name, record] of core.schedules.entries()) {
    const { spec, state, nextAt, dueAt } = record;
    const slot = core.agenda.slot(name);
    expect(spec.name === name, `schedule ${name} is kept under another name (${spec.name})`);
    expect(record.revision <= core.store.revision, `schedule ${name} is newer than the store`);
    expect(spec.putRevision <= record.revision, `schedule ${name} was put after its last change`);
    expect(
      (state === "finished") === (nextAt === 0 && record.waitingAt === 0),
      `schedule ${name} is ${state}, its next run at ${nextAt}`,
    );
    expect(
      nextAt === 0 || nextRun(spec, nextAt - 1) === nextAt,
      `schedule ${name}: ${nextAt} is none of its runs`,
    );
    expect(
      dueAt >= nextAt && dueAt <= nextAt + spec.jitterMs,
      `schedule ${name} is due at ${dueAt} for ${nextAt}`,
    );
    expect(
      record.waitingAt === 0 || record.lastTaskId !== null,
      `schedule ${name} waits for the end of no task`,
    );
    expect(slot !== undefined && slot.record === record, `schedule ${name} has no slot, or an old one`);
    const at = core.agenda.placeOf(record);
    expect(
      slot?.held === true || slot?.at === at,
      `schedule ${name} is to be looked at at ${slot?.at}, not ${at}`,
    );
    if (at < Number.POSITIVE_INFINITY) due += 1;
  }
  expect(core.agenda.size === core.schedules.size, `${core.agenda.size} slots of schedules`);
  expect(core.agenda.dueCount === due, `${core.agenda.dueCount} schedules are to be looked at, not ${due}`);

  checkKeys(core, expect);
  checkLocks(core, expect);
  checkMessages(core, expect);

  for (const slot of core.dispatch.slots())
    expect(core.workers.has(slot.id), `slot ${slot.id} has no worker`);
  return wrong;
}

type Expect = (holds: boolean, message: string) => void;

/** That every worker that fits the lane is in a crew that does, and no other. */
function checkLane(core: Coordinator, lane: Lane, offers: Map<Slot, Offer>, expect: Expect): void {
  const { needs, owner } = lane;
  const of = `a lane of ${lane.queue.name}`;
  const ready = lane.head !== undefined;
  for (const [slot, offer] of offers) {
    const isFit = fits(needs, slot.record, offer);
    const links = lane.links.filter(({ crew }) => crew === slot.crew);
    expect(links.length === (isFit && owner === null ? 1 : 0), `${of} and crew ${slot.crew.key} disagree`);
    for (const { size, rank } of links) {
      const preferred = needs.prefers.map((text) => (offer.meets(text) ? "1" : "0"));
      expect(rank === Number.parseInt(`0${preferred.join("")}`, 2), `${of} prefers ${slot.crew.key} wrongly`);
      expect(size.slots === needs.slots && slot.crew.sizes.includes(size), `${of} has another size`);
      expect(size.lanes.has(lane) === ready, `crew ${slot.crew.key} has a wrong idea of ${of}`);
    }
  }
  expect(owner === null || !lane.isEmpty, `${of} is kept for ${owner?.workerId} and empty`);
  expect(
    owner === null || owner.slot === core.dispatch.slot(owner.workerId) || owner.slot === null,
    `${of} has another worker`,
  );
  if (owner?.slot == null) return;
  const shelf = owner.shelves.find(({ slots }) => slots === needs.slots);
  const shelved = shelf?.lanes.has(lane) ?? false;
  expect(shelved === (ready && owner.fits(lane)), `worker ${owner.workerId} has a wrong idea of ${of}`);
}

/** That a worker stands where its room says, for tasks of every size. */
function checkSlot(slot: Slot, expect: Expect): void {
  const { id, crew, reservedFor } = slot;
  let used = 0;
  for (const { options } of slot.running) used += options.slots;
  expect(slot.used === used, `worker ${id} counts ${slot.used} slots, its tasks take ${used}`);
  expect(crew.slots.has(slot), `worker ${id} is not in its crew`);
  expect(reservedFor === null || reservedFor.reserved === slot, `worker ${id} keeps room for nobody`);
  for (const size of crew.sizes) {
    const room = reservedFor === null && slot.room >= size.slots;
    expect(size.pushable.has(slot) === (room && slot.attached), `worker ${id} stands wrong for pushes`);
    expect(size.unattached.has(slot) === (room && !slot.attached), `worker ${id} stands wrong for assign`);
    const claims = slot.claims && reservedFor === null && slot.claimRoom >= size.slots;
    expect(size.claiming.has(slot) === claims, `worker ${id} stands wrong for its claim`);
  }
}

function checkStream(stream: Stream, expect: Expect): void {
  const { lane, wait, woken, key } = stream;
  const of = `stream "${key}" of ${lane.queue.name}`;
  const specs = stream.specs();
  expect(stream.head !== undefined && specs.includes(stream.head), `${of} has lost its head`);
  for (const line of stream.lines) {
    if (line === undefined) continue;
    const inOrder = line.toArray();
    expect(line.size === inOrder.length, `a line of ${of} counts ${line.size}`);
    expect(line.first() === inOrder[0], `a line of ${of} has another first than its order says`);
  }
  expect(lane.awake.has(stream) === (wait === null), `${of} is neither awake nor asleep, or both`);
  expect(wait === null || (wait.streams.has(stream) && wait.lane === lane), `${of} is not where it sleeps`);
  expect(wait === null || woken === null, `${of} sleeps and is woken`);
  expect(woken === null || woken.woken === stream, `${of} was woken where nobody knows of it`);
  expect(stream.turn <= stream.group.turn, `${of} stands behind its group's turn`);
  expect(lane.queue.groups.get(stream.group.name) === stream.group, `${of} has a group that is gone`);
}

/** Keys stand in their order, expire when they say, and belong to workers that are there. */
function checkKeys(core: Coordinator, expect: Expect): void {
  const { sortedKeys } = core;
  const owned = new Map<string, string[]>();
  let due = 0;
  for (const [name, record] of core.keys.entries()) {
    const { key, revision, createdRevision, version, expiresAt, workerId } = record;
    expect(key === name, `key ${name} is kept under another name (${key})`);
    expect(revision <= core.store.revision, `key ${name} is newer than the store`);
    expect(
      version >= 1 && (version === 1 ? createdRevision === revision : createdRevision <= revision),
      `key ${name} was made at ${createdRevision}, and changed for the ${version}th time at ${revision}`,
    );
    expect(
      sortedKeys.dueAt(name) === expiresAt,
      `key ${name} expires at ${expiresAt}, not ${sortedKeys.dueAt(name)}`,
    );
    if (expiresAt > 0) due += 1;
    if (workerId === null) continue;
    const state = core.workers.get(workerId)?.state;
    expect(
      state !== undefined && state !== "offline",
      `key ${name} is of worker ${workerId}, which is ${state}`,
    );
    push(owned, workerId, name);
  }
  const names = [...core.keys.values()].map(({ key }) => key).sort();
  expect(same([...sortedKeys.from("")], names), "the order of the keys is wrong");
  expect(sortedKeys.size === names.length, `${sortedKeys.size} keys stand in their order`);
  expect(sortedKeys.dueCount === due, `${sortedKeys.dueCount} keys are to expire, not ${due}`);
  for (const [workerId, keys] of owned)
    expect(same(sortedKeys.owners.of(workerId).sort(), keys.sort()), `worker ${workerId}: wrong set of keys`);
  expect(
    sortedKeys.owners.size === owned.size,
    `${sortedKeys.owners.size} workers own keys, not ${owned.size}`,
  );
}

/** Each lock is held exactly if no earlier one is in its way, by their names alone; and ends when it says. */
function checkLocks(core: Coordinator, expect: Expect): void {
  const { bids } = core;
  const { counts } = bids;
  const names = new Set<string>();
  const spots = new Set<string>();
  const owned = new Map<string, string[]>();
  const further = new Set<string>();
  let ends = 0;
  for (const [id, { id: named, revision, resources, workerId, state, heldAt }] of core.locks.entries()) {
    const standing = bids.find(id);
    expect(id === named, `lock ${id} is kept under another name (${named})`);
    expect(revision <= core.store.revision, `lock ${id} is newer than the store`);
    expect(state !== "stolen", `lock ${id} is stolen and still there`);
    expect((state === "held") === heldAt > 0, `lock ${id} is ${state} since ${heldAt}`);
    expect(standing?.record === core.locks.get(id), `lock ${id} stands in line with an old record`);
    if (standing === undefined) continue;
    expect(state !== "held" || standing.isOpen, `lock ${id} is held, with another in its way`);
    const end = bids.endOf(standing);
    expect(standing.at <= end, `lock ${id} ends at ${end} and is looked at at ${standing.at}`);
    if (end < Number.POSITIVE_INFINITY) ends += 1;
    const [token = "", number] = id.split("-");
    if (number !== "0") further.add(token);
    if (state === "held")
      for (const { name } of resources)
        expect(bids.holder(name, Number(token)) !== undefined, `lock ${id} holds ${name} under no token`);
    for (const { name } of resources) {
      names.add(name);
      spots.add(name);
      for (let at = name.indexOf("/"); at >= 0; at = name.indexOf("/", at + 1))
        spots.add(name.slice(0, at + 1));
    }
    if (workerId === null) continue;
    const worker = core.workers.get(workerId)?.state;
    expect(
      worker !== undefined && worker !== "offline",
      `lock ${id} is of worker ${workerId}, which is ${worker}`,
    );
    push(owned, workerId, id);
  }
  const locks = [...core.locks.values()];
  const due = locks.filter(({ id, state }) => state === "waiting" && bids.find(id)?.isOpen);
  expect(counts.locks === locks.length, `${counts.locks} locks stand in line, not ${locks.length}`);
  expect(counts.due === due.length, `${counts.due} locks are to be granted, not ${due.length}`);
  expect(counts.ends === ends, `${counts.ends} locks end by the clock, not ${ends}`);
  expect(counts.names === names.size, `${counts.names} names are bid for, not ${names.size}`);
  expect(
    counts.further === further.size,
    `${counts.further} entries made several locks, not ${further.size}`,
  );
  expect(counts.spots === spots.size, `${counts.spots} names have lines, not ${spots.size}`);
  expect(same([...bids.namesFrom("")], [...names].sort()), "the order of the locked names is wrong");
  expect(counts.owners === owned.size, `${counts.owners} workers have locks, not ${owned.size}`);
  for (const [workerId, ids] of owned) {
    const kept = bids.owners.of(workerId).map(({ record }) => record.id);
    expect(same(kept.sort(), ids.sort()), `worker ${workerId}: wrong set of locks`);
  }
  const held = locks.filter(({ state }) => state === "held");
  expect(bids.heldCount === held.length, `${bids.heldCount} locks are held, not ${held.length}`);
  const waiting = locks.filter(({ state }) => state === "waiting").length;
  expect(bids.waitingCount === waiting, `${bids.waitingCount} locks wait, not ${waiting}`);
  // Each against each, where they are few: the lines are not asked.
  if (held.length > 200) return;
  for (const [i, one] of held.entries())
    for (const other of held.slice(i + 1))
      expect(!collide(one, other), `locks ${one.id} and ${other.id} are held, in each other's way`);
  for (const { id, resources } of held)
    for (const { name, mode } of resources) {
      const sharing = held.filter((one) => one.resources.some((wish) => wish.name === name));
      const most = Math.min(
        ...sharing
          .flatMap((one) => one.resources)
          .map((wish) => (wish.name === name && wish.limit) || Infinity),
      );
      expect(
        mode === "exclusive" || sharing.length <= most,
        `lock ${id} is one of ${sharing.length} of ${name}`,
      );
    }
  for (const one of locks) {
    const line = one.resources.flatMap(({ name }) => [...bids.at(name)]);
    expect(line.includes(bids.find(one.id)!), `lock ${one.id} is in no line`);
  }
  for (const name of names) {
    const line = [...bids.at(name)];
    const open = [...bids.openAt(name)];
    expect(
      line.every(({ record }) => record.state !== "held" || open.some((one) => one.record === record)),
      `a lock of ${name} is held and not open there`,
    );
    expect(
      line.every((standing, i) => i === 0 || byAge(line[i - 1]!, standing) < 0),
      `the line for ${name} is out of order`,
    );
  }
}

const covers = (a: string, b: string) => a === b || (a.endsWith("/") && b.startsWith(a));
const collide = (one: LockRecord, other: LockRecord) =>
  one.resources.some((a) =>
    other.resources.some(
      (b) =>
        (a.mode === "exclusive" || b.mode === "exclusive") &&
        (covers(a.name, b.name) || covers(b.name, a.name)),
    ),
  );

/** What each subscription has still to get, and which messages are needed, by what the tables say. */
function checkMessages(core: Coordinator, expect: Expect): void {
  const { inboxes } = core;
  const messages = [...core.messages.values()].sort(byAge);
  const waiting = new Map<MessageRecord, number>();
  const owned = new Map<string, string[]>();
  const total = { pending: 0, flying: 0, dead: 0 };
  let rows = 0;
  let retries = 0;
  for (const [name, record] of core.subscriptions.entries()) {
    const { spec, floors } = record;
    const inbox = inboxes.get(name);
    const of = `subscription ${name}`;
    expect(spec.name === name, `${of} is kept under another name (${spec.name})`);
    expect(record.revision <= core.store.revision, `${of} is newer than the store`);
    expect(
      floors.every((floor) => floor <= core.store.revision),
      `${of} has a floor above the store`,
    );
    expect(inbox !== undefined && inbox.record === record, `${of} has no inbox, or an old one`);
    if (spec.workerId !== null) push(owned, spec.workerId, name);
    if (inbox === undefined) continue;
    const isOwn = name.startsWith("$worker.");
    const patterns = new Topics<true>();
    patterns.add(spec.topic, true);
    if (isOwn) patterns.add(toAll, true);
    const found = { pending: 0, waiting: 0, dead: 0, entries: 0, flying: 0 };
    const untouched = priorities.map((): string[] => []);
    const ready = priorities.map((): string[] => []);
    const blocking = priorities.map((): string[] => []);
    for (const message of messages) {
      if (patterns.match(message.topic).length === 0) continue;
      const messageId = messageIdOf(message);
      const row = core.deliveries.get(deliveryKey(name, messageId)) ?? null;
      if (row !== null) rows += 1;
      const entry = inbox.entries.get(rowOf(message));
      const isSettled = row === null && message.revision <= (floors[message.priority] as number);
      const stands = entry?.standing ?? (isSettled ? "settled" : "untouched");
      const may = isSettled
        ? ["settled"]
        : row === null
          ? ["untouched", "ready", "flying"]
          : row.state === "waiting"
            ? ["waiting", "ready", "flying"]
            : [row.state];
      expect(may.includes(stands), `message ${messageId} is ${stands} for ${name}, not ${may.join(" or ")}`);
      if (stands === "settled") continue;
      if (stands !== "acknowledged") waiting.set(message, (waiting.get(message) ?? 0) + 1);
      if (entry === undefined) {
        untouched[message.priority]?.push(messageId);
        found.pending += 1;
        continue;
      }
      expect(entry.row === row, `message ${messageId} has another row for ${name}`);
      expect(entry.kept === inboxes.kept(rowOf(message)), `message ${messageId} is another for ${name}`);
      found.entries += 1;
      if (stands === "waiting") retries += 1;
      if (stands === "ready") ready[message.priority]?.push(messageId);
      if (row === null) blocking[message.priority]?.push(messageId);
      if (stands === "dead") found.dead += 1;
      else if (stands !== "acknowledged") found.pending += 1;
      if (stands === "waiting") found.waiting += 1;
      if (stands === "flying") found.flying += 1;
    }
    total.pending += found.pending;
    total.flying += found.flying;
    total.dead += found.dead;
    expect(inbox.entries.size === found.entries, `${of} has ${inbox.entries.size} entries`);
    expect(inbox.pendingCount === found.pending, `${of} counts ${inbox.pendingCount} pending`);
    expect(inbox.waitingCount === found.waiting, `${of} counts ${inbox.waitingCount} waiting`);
    expect(inbox.deadCount === found.dead, `${of} counts ${inbox.deadCount} dead`);
    expect(inbox.flights.size === found.flying, `${of} has ${inbox.flights.size} flights`);
    inbox.lanes.forEach((lane, priority) => {
      const ids = (items: Iterable<Entry | Kept>) => [...items].map(({ message }) => messageIdOf(message));
      expect(
        same(ids(lane.untouched.toArray()), untouched[priority]!),
        `${of} has a wrong order of what is untouched`,
      );
      expect(same(ids(lane.ready.toArray()), ready[priority]!), `${of} has a wrong order of what is ready`);
      expect(same(ids(lane.blocking), blocking[priority]!), `${of} has a wrong idea of what is open`);
    });
    let flying = 0;
    for (const consumer of inbox.consumers) flying += consumer.flying;
    expect(flying <= found.flying, `${of} has consumers with ${flying} flights`);
    const { first } = inbox.flights;
    expect(
      first === null || (inboxes.looks.nextAt <= inbox.lookAt && inbox.lookAt <= first.landsAt),
      `${of} is not looked at when its flights are over`,
    );
  }
  const { pendingCount: pending, flyingCount: flying, deadCount: dead } = inboxes;
  expect(
    pending === total.pending && flying === total.flying && dead === total.dead,
    `${pending} messages wait for subscriptions, ${flying} are on their way and ${dead} dead, not ${total.pending}, ${total.flying} and ${total.dead}`,
  );
  expect(
    core.deliveries.size === rows,
    `${core.deliveries.size} deliveries have rows, ${rows} of which stand for something`,
  );
  expect(
    inboxes.retries.size === retries,
    `${inboxes.retries.size} messages are to come again, not ${retries}`,
  );
  const inboxNames = Array.from(inboxes.all(), ({ name }) => name);
  const names = Array.from(core.subscriptions.entries(), ([name]) => name);
  expect(same(inboxNames, names.sort()), "the order of the subscriptions is wrong");
  expect(inboxes.subscriptionCount === core.subscriptions.size, `${inboxes.subscriptionCount} inboxes`);
  for (const [workerId, names] of owned)
    expect(
      same(inboxes.owners.of(workerId).sort(), names.sort()),
      `worker ${workerId}: wrong set of subscriptions`,
    );
  expect(
    inboxes.owners.size === owned.size,
    `${inboxes.owners.size} workers own subscriptions, not ${owned.size}`,
  );
  expect(inboxes.keptCount === messages.length, `${inboxes.keptCount} messages are known`);
  const inOrder = [...inboxes.after(-1)].map(({ message }) => messageIdOf(message));
  expect(same(inOrder, messages.map(messageIdOf)), "the order of the messages is wrong");
  const keepers = new Map<Kept, number>();
  for (const [topic, record] of core.topics.entries()) {
    const keeper = inboxes.keeper(topic);
    expect(keeper !== undefined && keeper.record === record, `topic ${topic} has no keeper, or an old one`);
    if (keeper === undefined) continue;
    const { keepCount } = record;
    expect(keepCount === 0 || keeper.line.size <= keepCount, `topic ${topic} keeps ${keeper.line.size}`);
    expect(keeper.links.size === keeper.line.size, `topic ${topic} has lost a message`);
    for (const kept of keeper.line) {
      expect(
        !kept.isGone && fitsTopic(topic, kept.message.topic),
        `topic ${topic} keeps what is not its own`,
      );
      keepers.set(kept, (keepers.get(kept) ?? 0) + 1);
    }
  }
  for (const message of messages) {
    const kept = inboxes.kept(rowOf(message));
    expect(
      kept !== undefined && kept.keepers === (keepers.get(kept) ?? 0),
      `message ${messageIdOf(message)} is kept by ${kept?.keepers} topics`,
    );
    const count = waiting.get(message) ?? 0;
    const id = messageIdOf(message);
    expect(kept?.waiting === count, `message ${id} is needed by ${kept?.waiting}, not ${count}`);
    const isLoose = count === 0 && kept?.keepers === 0;
    expect(kept !== undefined && inboxes.loose.has(kept) === isLoose, `message ${id} is wrongly kept`);
    expect(
      kept !== undefined && inboxes.expiring.has(kept) === message.expiresAt > 0,
      `message ${id} has a wrong idea of its end`,
    );
  }
}

/** What runs behind each gate, by what the tasks say; and that whoever sleeps may be woken. */
function checkFlow(core: Coordinator, expect: Expect): void {
  const { flow, dispatch } = core;
  const running = new Map<string, number>();
  const queued = new Map<string, number>();
  const count = (map: Map<string, number>, key: string) => map.set(key, (map.get(key) ?? 0) + 1);
  for (const { spec, state } of core.tasks.values()) {
    if (state === "queued") count(queued, `${spec.options.queue} ${spec.extras.group ?? ""}`);
    if (state !== "running") continue;
    count(running, `queue ${spec.options.queue}`);
    if (spec.extras.group !== null) count(running, `group ${spec.options.queue} ${spec.extras.group}`);
    for (const name of spec.options.limits) count(running, `limit ${name}`);
  }
  const checkGate = (gate: Gate, key: string) => {
    const runs = running.get(key) ?? 0;
    expect(gate.running === runs, `${key} counts ${gate.running} running, ${runs} do`);
    running.delete(key);
    for (const wait of gate.waits.values()) {
      const first = wait.streams.top;
      const asleep = first !== undefined && wait.woken === null;
      expect((gate.asleep?.has(wait) ?? false) === asleep, `${key} has a wrong idea of who sleeps`);
      if (!asleep || gate.shut(core.clock) !== null) continue;
      const due = dispatch.gates.opening.has(gate) || gate.lookAt <= core.clock;
      expect(due, `${key} is open, and nobody wakes who sleeps there`);
    }
    const rate = (gate.asleep?.size ?? 0) > 0 && gate.shut(core.clock) === "rate";
    const { opening, looks } = dispatch.gates;
    expect(!rate || opening.has(gate) || looks.nextAt <= gate.lookAt, `${key} is not looked at again`);
    expect(!rate || opening.has(gate) || gate.lookAt < Number.POSITIVE_INFINITY, `${key} is forgotten`);
  };
  expect(
    same([...flow.namesFrom("")], [...flow.queues()].map(({ name }) => name).sort()),
    "the names of queues in order are others than those there are",
  );
  expect(
    same([...flow.limitNamesFrom("")], Array.from(flow.limits.values(), ({ name }) => name).sort()),
    "the names of limits in order are others than those there are",
  );
  for (const queue of flow.queues()) {
    checkGate(queue.gate, `queue ${queue.name}`);
    if (queue.waiting !== null) {
      const kept = queue.waiting.specs().map(({ id }) => id);
      const waits = [...core.queues.waitingIn(queue.name)].map(({ id }) => id);
      expect(same(kept.sort(), waits.sort()), `queue ${queue.name} has a wrong idea of its backlog`);
    }
    expect(queue.settings === flow.settings.get(queue.name), `queue ${queue.name} has other settings`);
    expect(queue.gate.paused === flow.pauses.has(queue.name), `queue ${queue.name}: wrongly paused`);
    for (const group of queue.groups.values()) {
      const key = `${queue.name} ${group.name}`;
      if (group.name !== "") checkGate(group.gate, `group ${key}`);
      expect(group.queued === (queued.get(key) ?? 0), `group ${key} counts ${group.queued} ready`);
      expect(group.name === "" || group.gate.paused === flow.pauses.has(key), `group ${key}: wrongly paused`);
      queued.delete(key);
    }
  }
  for (const gate of flow.limitGates()) checkGate(gate, `limit ${gate.name}`);
  for (const key of running.keys()) expect(false, `${key} has no gate`);
  for (const key of queued.keys()) expect(false, `group ${key} is not known`);
}

/** What each task waits for, by what the tasks say; and that what is due is known. */
function checkGraphs(core: Coordinator, expect: Expect): void {
  type Counts = { pending: number; failing: number; completed: number; failed: number; total: number };
  const counts = new Map<string, Counts>();
  const needed = new Map<string, number>();
  const linked = new Set<string>();
  const link = (waiting: string, awaited: string, onFail: OnFail) => {
    linked.add(waiting).add(awaited);
    const count = counts.get(waiting) ?? { pending: 0, failing: 0, completed: 0, failed: 0, total: 0 };
    counts.set(waiting, count);
    count.total += 1;
    const record = core.tasks.get(awaited);
    if (record !== undefined) {
      const failed = isFinal(record.state) && record.state !== "completed";
      if (!isFinal(record.state) || (failed && onFail === "wait")) count.pending += 1;
      if (failed) count.failed += 1;
      if (failed && onFail === "fail") count.failing += 1;
      if (record.state === "completed") count.completed += 1;
    }
    const above = core.tasks.get(waiting);
    if (above !== undefined && !isFinal(above.state)) needed.set(awaited, (needed.get(awaited) ?? 0) + 1);
  };
  for (const [id, { spec }] of core.tasks.entries()) {
    const { after, parent } = spec.links;
    if (spec.links !== unlinked) linked.add(id);
    for (const { taskId, onFail } of after) link(id, taskId, onFail);
    if (parent !== null) link(parent.taskId, id, parent.onFail);
  }
  expect(core.graphs.size === linked.size, `${core.graphs.size} tasks in graphs, not ${linked.size}`);
  const due: string[] = [];
  for (const id of linked) {
    const node = core.graphs.nodeOf(id);
    const record = core.tasks.get(id);
    const count = counts.get(id) ?? { pending: 0, failing: 0, completed: 0, failed: 0, total: 0 };
    expect(node !== undefined, `task ${id} is linked and in no graph`);
    if (node === undefined) continue;
    for (const field of ["pending", "failing", "completed", "failed", "total"] as const)
      expect(node[field] === count[field], `task ${id} counts ${node[field]} ${field}, not ${count[field]}`);
    expect(node.needed === (needed.get(id) ?? 0), `task ${id} is needed by ${node.needed}`);
    if (record?.state === "blocked" && (count.failing > 0 || (count.pending === 0 && !isOpen(record))))
      due.push(id);
  }
  expect(same(due.sort(), core.graphs.dueIds.sort()), "what is due to go on is not known");
  for (const [id, { spec, state }] of core.tasks.entries())
    expect(state !== "blocked" || linked.has(id), `task ${spec.id} is blocked and waits for nothing`);
}

/** The tables as text, in a fixed order: equal texts are equal states. */
export function stateText(core: Coordinator): string {
  const texts: string[] = [];
  for (const table of core.store.tables())
    for (const [key, after] of table.entries())
      texts.push(
        encodeEntry({ revision: 0, at: 0, clock: 0, operation: "", who: "" }, [
          { table, key, before: undefined, after },
        ]),
      );
  return texts.sort().join("");
}

function push<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

const same = (a: string[], b: string[]) => a.length === b.length && a.every((one, i) => one === b[i]);

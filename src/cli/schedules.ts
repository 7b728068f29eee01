/**
 * `cortexd schedules …`: tasks that the daemon submits by the clock. What a schedule and its task may say is read off
 * the wire's schemas.
 */
import { durationText } from "../config.ts";
import {
  type Schedule,
  ScheduleList,
  SchedulePreview,
  SchedulePut,
  ScheduleTask,
} from "../wire/schedules.ts";
import { command, type Group } from "./command.ts";
import { rest } from "./daemon.ts";
import { payloadOf } from "./input.ts";
import { inputOf, optionsOf } from "./options.ts";
import type { Colour, Column } from "./output.ts";
import { pagesOf } from "./pages.ts";
import { age, moment, number, stateColour } from "./words.ts";

const SCHEDULE = { name: "SCHEDULE", help: "The schedule's name." } as const;

const list = command({
  summary: "List the schedules by name.",
  arguments: [],
  options: {
    ...optionsOf(ScheduleList, ["cursor", "limit"]),
    limit: { type: "integer", min: 1, default: 1000, help: "At most so many." },
  },
  client: true,
  watch: true,
  json: 'one object, {"schedules": [...], "cursor": ...}, as GET /api/schedules answers; cursor is null when all are there.',
  examples: [
    { words: "schedules list", meaning: "A line a schedule: when it runs, and when it runs next." },
    { words: "schedules list --state paused", meaning: "Those that somebody stopped." },
  ],
  async run({ values, to, out }) {
    const client = rest(to);
    const filter = inputOf(ScheduleList, values);
    const pages = pagesOf("schedules", values.limit, (asked) =>
      client.schedules.list({ ...filter, ...asked }),
    );
    await out.pages("schedules", pages, columns(out.now()), "There are no schedules like that.");
    return undefined;
  },
});

const timeOf = ({ cron, timeZone, everyMs }: Schedule) =>
  cron === null ? `every ${durationText(everyMs as number)}` : `${cron} (${timeZone})`;

const columns = (now: number): Column<Schedule>[] => [
  { title: "SCHEDULE", of: ({ name }) => name, whole: true },
  { title: "STATE", of: ({ state }) => state, colour: ({ state }) => stateColour(state), whole: true },
  { title: "WHEN", of: timeOf, whole: true },
  { title: "NEXT", of: ({ nextAt }) => (nextAt === null ? "-" : age(nextAt, now)), whole: true },
  { title: "LAST", of: ({ lastAt }) => (lastAt === null ? "-" : age(lastAt, now)), whole: true },
  { title: "RUNS", of: ({ runsCount }) => number(runsCount), right: true, whole: true },
  { title: "QUEUE", of: ({ task }) => task.queue ?? "default" },
  { title: "TYPE", of: ({ task }) => task.type },
];

const show = command({
  summary: "Show everything about one schedule, and when it runs next.",
  arguments: [SCHEDULE],
  options: { count: optionsOf(SchedulePreview, ["from"]).count },
  client: true,
  watch: true,
  json: "one object, as GET /api/schedules/NAME answers.",
  examples: [
    { words: "schedules show nightly-report", meaning: "What it is, how it stands, its next five runs." },
  ],
  async run({ words: [name], values, to, out }) {
    const shown = await rest(to).schedules.get(name!, inputOf(SchedulePreview, values));
    if (out.json) await out.value(shown);
    else
      await out.fields([...fieldsOf(shown, out.now()), ["Next runs", runsText(shown.nextRuns, out.now())]]);
    return undefined;
  },
});

const runsText = (runs: readonly number[], now: number) =>
  runs.length === 0 ? "none will come" : runs.map((at) => moment(at, now)).join("\n");

const fieldsOf = (
  schedule: Schedule,
  now: number,
): (readonly [string, string | null, (Colour | null)?])[] => [
  ["Schedule", schedule.name, "bold"],
  ["State", schedule.state, stateColour(schedule.state)],
  ["When", timeOf(schedule)],
  ["Not before", moment(schedule.startAt, now)],
  ["Not after", moment(schedule.endAt, now)],
  ["Jitter", schedule.jitterMs === 0 ? null : `up to ${durationText(schedule.jitterMs)}`],
  ["Missed runs", schedule.missed + (schedule.missed === "all" ? `, at most ${schedule.missedMax}` : "")],
  ["Overlap", schedule.overlap],
  ["Task", JSON.stringify(schedule.task, null, 2)],
  ["Waits", schedule.waitingAt === null ? null : `the run of ${moment(schedule.waitingAt, now)}`],
  ["Last run", moment(schedule.lastAt, now)],
  ["Last task", schedule.lastTaskId],
  ["Runs", number(schedule.runsCount)],
  ["Skipped", schedule.skippedCount === 0 ? null : `${number(schedule.skippedCount)}, for the overlap`],
  ["Created", moment(schedule.createdAt, now)],
  ["Put", `at revision ${schedule.putRevision}`],
  ["Revision", String(schedule.revision)],
];

const put = command({
  summary: "Make a schedule, or replace the one of this name.",
  arguments: [
    SCHEDULE,
    { name: "TYPE", help: "The type of the task that each run submits." },
    {
      name: "PAYLOAD",
      help: "Its payload: JSON; @FILE: the JSON in the file; -: the JSON on standard input. Default null.",
      optional: true,
    },
  ],
  options: { ...optionsOf(SchedulePut, ["name", "task"]), ...optionsOf(ScheduleTask, ["type", "payload"]) },
  client: true,
  json: "one object, the schedule, as PUT /api/schedules/NAME answers.",
  examples: [
    {
      words:
        'schedules put nightly-report report --cron "30 2 * * *" --time-zone Europe/Berlin --queue reports',
      meaning: "Every night at half past two in Berlin.",
    },
    {
      words: `schedules put sweep clean '{"olderThanDays": 30}' --every 15m --overlap skip`,
      meaning: "Every quarter of an hour, unless the last one is not done.",
    },
  ],
  async run({ words: [name, type, payload], values, to, out }) {
    const task: ScheduleTask = { ...inputOf(ScheduleTask, values), type: type! };
    if (payload !== undefined) task.payload = await payloadOf(payload);
    const schedule = await rest(to).schedules.put({ ...inputOf(SchedulePut, values), name: name!, task });
    if (out.json) await out.value(schedule);
    else await out.line(lineOf(schedule, out.now()));
    return undefined;
  },
});

const lineOf = ({ name, state, nextAt }: Schedule, now: number) =>
  `${name} is ${state}. ${nextAt === null ? "No run will come." : `Its next run is ${moment(nextAt, now)}.`}`;

const remove = command({
  summary: "Delete a schedule; the tasks it submitted stay.",
  arguments: [SCHEDULE],
  options: {},
  client: true,
  json: 'one object, {"name"}.',
  examples: [{ words: "schedules delete nightly-report", meaning: "It runs no more." }],
  async run({ words: [name], to, out }) {
    const deleted = await rest(to).schedules.delete(name!);
    if (out.json) await out.value(deleted);
    else await out.line(`${deleted.name} is deleted.`);
    return undefined;
  },
});

const pause = command({
  summary: "Start no runs until it is resumed.",
  arguments: [SCHEDULE],
  options: {},
  client: true,
  json: "one object, the schedule as it is now.",
  examples: [{ words: "schedules pause nightly-report", meaning: "Before the reports are changed." }],
  async run({ words: [name], to, out }) {
    const schedule = await rest(to).schedules.pause(name!);
    if (out.json) await out.value(schedule);
    else await out.line(`${schedule.name} is ${schedule.state}.`);
    return undefined;
  },
});

const resume = command({
  summary: "Run it again; its policy says what becomes of the runs missed meanwhile.",
  arguments: [SCHEDULE],
  options: {},
  client: true,
  json: "one object, the schedule as it is now.",
  examples: [{ words: "schedules resume nightly-report", meaning: "After it." }],
  async run({ words: [name], to, out }) {
    const schedule = await rest(to).schedules.resume(name!);
    if (out.json) await out.value(schedule);
    else await out.line(lineOf(schedule, out.now()));
    return undefined;
  },
});

const run = command({
  summary: "Submit its task now, whatever its time, its state and its last run say.",
  arguments: [SCHEDULE],
  options: {},
  client: true,
  json: 'one object, {"name", "taskId"}.',
  examples: [
    {
      words: "tasks wait $(cortexd schedules run nightly-report --json | jq -r .taskId)",
      meaning: "Run it, and wait for the result.",
    },
  ],
  async run({ words: [name], to, out }) {
    const ran = await rest(to).schedules.run(name!);
    if (out.json) await out.value(ran);
    else await out.line(`${ran.taskId} is submitted.`);
    return undefined;
  },
});

const preview = command({
  summary: "Show when a schedule would run, without making one.",
  arguments: [],
  options: optionsOf(SchedulePreview, []),
  client: true,
  json: 'one object, {"nextRuns": [...]}, as POST /api/schedules/preview answers.',
  examples: [
    {
      words: 'schedules preview --cron "0 9 * * MON" --time-zone America/New_York --count 3',
      meaning: "The next three Mondays.",
    },
  ],
  async run({ values, to, out }) {
    const runs = await rest(to).schedules.preview(inputOf(SchedulePreview, values));
    if (out.json) await out.value(runs);
    else await out.line(runsText(runs.nextRuns, out.now()));
    return undefined;
  },
});

export const schedules: Group = {
  summary: "Tasks that the daemon submits by the clock.",
  commands: { list, show, put, delete: remove, pause, resume, run, preview },
};

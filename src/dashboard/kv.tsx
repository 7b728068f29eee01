/**
 * Keys: found by how they begin, a page at a time; one of them is edited by comparing revisions, so that nobody's
 * change is lost: where somebody else was faster, both values are shown and one chooses.
 */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { isRefused } from "../../client/errors.ts";
import type { Key, KeyListed } from "../wire/kv.ts";
import { now } from "./figures.ts";
import { distance, moment, pretty, preview } from "./format.ts";
import { client, isLive } from "./link.ts";
import { onChange, useLive } from "./live.ts";
import { Distance } from "./parts/cells.tsx";
import { confirm, Dialog } from "./parts/dialog.tsx";
import type { Column } from "./parts/list.tsx";
import { Paged, usePages } from "./parts/pages.tsx";
import { Search } from "./parts/search.tsx";
import { Empty, Shown } from "./parts/states.tsx";
import { act, explained, say } from "./parts/toast.tsx";
import { Facts, Value } from "./parts/value.tsx";
import { go, href, refine, route } from "./route.ts";

const columns: Column<KeyListed>[] = [
  { name: "Key", lead: true, cell: ({ key }) => <a href={href("keys", key)}>{key}</a> },
  { name: "Value", wide: true, cell: ({ value }) => <code>{preview(value)}</code> },
  {
    name: "Gone",
    cell: ({ expiresAt, workerId }) =>
      expiresAt !== null ? (
        <Distance at={expiresAt} />
      ) : workerId !== null ? (
        <>
          with <a href={href("workers", workerId)}>{workerId}</a>
        </>
      ) : null,
  },
  { name: "Version", figures: true, minor: true, cell: ({ version }) => version },
  { name: "Revision", figures: true, cell: ({ revision }) => revision },
];

export function Keys() {
  const prefix = route.value.query.get("prefix") ?? "";
  const making = useSignal(false);
  const pages = usePages(
    "keys",
    prefix,
    (of, asked, options) => of.kv.list({ ...asked, ...(prefix !== "" && { prefix }) }, options),
    [onChange(prefix === "" ? { tables: ["keys"] } : { tables: ["keys"], prefix })],
  );
  return (
    <>
      <div class="subject">
        <Search
          label="Find keys by how they begin"
          placeholder="config/"
          value={prefix}
          search={(text) => {
            refine({ prefix: text.trim() });
            return null;
          }}
        />
        <button type="button" disabled={!isLive.value} onClick={() => (making.value = true)}>
          New key
        </button>
      </div>
      {prefix !== "" && <Folders prefix={prefix} />}
      <Paged
        pages={pages}
        label="Keys in their order"
        columns={columns}
        keyOf={({ key }) => key}
        open={({ key }) => href("keys", key)}
        empty={
          <Empty title={prefix === "" ? "No keys yet" : `No key begins with ${prefix}`}>
            {prefix === "" ? (
              <>
                Put one: <code>cortexd kv put config/region '"eu-central"'</code>
              </>
            ) : (
              <a href={href("keys")}>Show all keys</a>
            )}
          </Empty>
        }
      />
      {making.value && <Making prefix={prefix} close={() => (making.value = false)} />}
    </>
  );
}

/** The way up: each part of the prefix that ends with a slash. */
function Folders({ prefix }: { prefix: string }) {
  const parts = prefix.split("/");
  return (
    <nav class="folders" aria-label="Folders">
      <a href={href("keys")}>all keys</a>
      {parts.slice(0, -1).map((part, i) => {
        const folder = `${parts.slice(0, i + 1).join("/")}/`;
        return (
          <a key={folder} href={href("keys", null, { prefix: folder })}>
            {part}/
          </a>
        );
      })}
    </nav>
  );
}

/** The value that a text is, or what is wrong with it. */
function parsed(text: string): { value: unknown } | { wrong: string } {
  try {
    return { value: JSON.parse(text) };
  } catch (error) {
    return { wrong: `That is not JSON: ${(error as Error).message}. A text stands in double quotes.` };
  }
}

const isConflict = (error: unknown) => isRefused(error, "revision-mismatch");

function Making({ prefix, close }: { prefix: string; close: () => void }) {
  const wrong = useSignal<string | null>(null);
  const make = async (form: FormData) => {
    const key = String(form.get("key") ?? "").trim();
    const value = parsed(String(form.get("value") ?? ""));
    if ("wrong" in value) {
      wrong.value = value.wrong;
      return;
    }
    try {
      await client.value?.kv.put(key, value.value, { ifRevision: 0 });
      say(`Key ${key} is there`);
      close();
      go(href("keys", key));
    } catch (error) {
      wrong.value = isConflict(error) ? `There is a key ${key} already.` : explained(error);
    }
  };
  return (
    <Dialog title="New key" close={close}>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          void make(new FormData(event.currentTarget));
        }}
      >
        <label class="field">
          <span>Key</span>
          <input name="key" required autocomplete="off" spellcheck={false} defaultValue={prefix} />
        </label>
        <label class="field">
          <span>Value, as JSON</span>
          <textarea name="value" rows={6} required spellcheck={false} aria-describedby="making-wrong" />
        </label>
        <p id="making-wrong" class="wrong" role="alert">
          {wrong.value}
        </p>
        <div class="actions">
          <button type="button" onClick={close}>
            Leave it
          </button>
          <button type="submit" class="main">
            Put
          </button>
        </div>
      </form>
    </Dialog>
  );
}

export function KeyPage({ name }: { name: string }) {
  const reading = useLive(
    (of, options) => of.kv.get(name, options),
    [onChange({ tables: ["keys"], key: name })],
    [name],
  );
  // Also null where nothing was read yet.
  const gone = !reading.loading && reading.error === null && reading.data === null;
  if (gone)
    return (
      <Empty title={`There is no key ${name}`}>
        <a href={href("keys")}>All keys</a>
      </Empty>
    );
  return (
    <Shown reading={reading} rows={6}>
      {(key) => key !== null && <Editing key={name} of={key} again={reading.again} />}
    </Shown>
  );
}

function Editing({ of: key, again }: { of: Key; again: () => void }) {
  const of = client.value;
  /** What stood here when the editing began: what a change is compared with. */
  const base = useSignal(key);
  const text = useSignal(pretty(key.value));
  const wrong = useSignal<string | null>(null);
  const take = () => {
    base.value = key;
    text.value = pretty(key.value);
    wrong.value = null;
  };
  const isEdited = text.value !== pretty(base.value.value);
  const isBehind = key.revision !== base.value.revision;
  // Whoever has not begun to edit sees what is new.
  useEffect(() => {
    if (!isEdited && isBehind) take();
  }, [key.revision]);

  const save = async (ifRevision: number) => {
    const value = parsed(text.value);
    if ("wrong" in value) {
      wrong.value = value.wrong;
      return;
    }
    wrong.value = null;
    // A put replaces the key as a whole: its time and its owner stay only if they are said.
    const { expiresAt, workerId } = key;
    const kept = { ...(expiresAt !== null && { expiresAt }), ...(workerId !== null && { workerId }) };
    try {
      const standing = await of?.kv.put(key.key, value.value, { ifRevision, ...kept });
      if (standing !== undefined) base.value = { ...standing, value: value.value };
      say(`Key ${key.key} is put`);
    } catch (error) {
      if (isConflict(error)) wrong.value = "Somebody changed it meanwhile. Nothing was put.";
      else say(explained(error), true);
    }
    again();
  };
  const off = !isLive.value;
  return (
    <div class="columns">
      <section class="card" aria-labelledby="value">
        <h2 id="value" class="label">
          Value, as JSON
        </h2>
        <form
          class="form"
          onSubmit={(event) => {
            event.preventDefault();
            void save(base.value.revision);
          }}
        >
          <textarea
            aria-labelledby="value"
            aria-describedby="value-wrong"
            aria-invalid={wrong.value !== null}
            rows={Math.min(24, Math.max(6, text.value.split("\n").length + 1))}
            spellcheck={false}
            value={text.value}
            onInput={({ currentTarget }) => {
              text.value = currentTarget.value;
              wrong.value = null;
            }}
          />
          <p id="value-wrong" class="wrong" role="alert">
            {wrong.value}
          </p>
          {isBehind && isEdited && (
            <div class="conflict">
              <p>
                <b>It is another value now</b>, of revision {key.revision}; you began with revision{" "}
                {base.value.revision}.
              </p>
              <Value label="Value now" value={key.value} />
              <div class="actions">
                <button type="button" onClick={take}>
                  Take that one
                </button>
                <button type="button" class="danger" disabled={off} onClick={() => void save(key.revision)}>
                  Put mine in its place
                </button>
              </div>
            </div>
          )}
          <div class="actions">
            <button type="submit" class="main" disabled={off || !isEdited}>
              Put
            </button>
            <button type="button" disabled={!isEdited} onClick={take}>
              Undo
            </button>
          </div>
        </form>
      </section>
      <section class="card">
        <h2 class="label">Key</h2>
        <Facts
          facts={[
            ["Key", <code key="key">{key.key}</code>],
            ["Revision", key.revision],
            ["Made in", key.createdRevision],
            ["Version", key.version],
            [
              "Expires",
              key.expiresAt === null
                ? "never"
                : `${distance(key.expiresAt, now.value)}, ${moment(key.expiresAt)}`,
            ],
            [
              "Owner",
              key.workerId === null ? null : (
                <a key="owner" href={href("workers", key.workerId)}>
                  {key.workerId}
                </a>
              ),
            ],
          ]}
        />
        <div class="actions">
          <button
            type="button"
            class="danger"
            disabled={off}
            onClick={() =>
              confirm({
                title: `Delete key ${key.key}?`,
                detail: `Only if it is still as it is now, of revision ${key.revision}.`,
                yes: "Delete it",
                carryOut: () =>
                  act(
                    async () => of?.kv.delete(key.key, { ifRevision: key.revision }),
                    `Key ${key.key} is deleted`,
                  ).then(again),
              })
            }
          >
            Delete
          </button>
        </div>
      </section>
    </div>
  );
}

/** What stands around every page: the menu, which namespace one is in, how the connection stands, and the ways out. */
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { newest, now } from "./figures.ts";
import { age, count } from "./format.ts";
import { helpIsOpen } from "./keyboard.ts";
import { link, open, unlock } from "./link.ts";
import { useLive } from "./live.ts";
import { Confirmation, Dialog } from "./parts/dialog.tsx";
import { Empty } from "./parts/states.tsx";
import { Toasts } from "./parts/toast.tsx";
import { go, href, namespace, route } from "./route.ts";
import { choose, type Theme, theme } from "./theme.ts";
import { views } from "./views.tsx";

export function Shell() {
  const { page, id } = route.value;
  const of = namespace();
  useEffect(() => open(of), [of]);
  const view = views.find((other) => other.page === page);
  const title = view?.title ?? "Not found";
  const heading = useRef<HTMLHeadingElement>(null);
  const first = useRef(true);
  useEffect(() => {
    document.title = `${id ?? title} · Cortex`;
    // Whoever cannot see the page change hears it; not when it is opened.
    if (!first.current) heading.current?.focus({ preventScroll: true });
    first.current = false;
    scrollTo(0, 0);
  }, [page, id]);
  const state = link.value;
  return (
    <>
      <button type="button" class="skip" onClick={() => document.querySelector<HTMLElement>("main")?.focus()}>
        To the page
      </button>
      <Menu current={page} />
      <div class="stage">
        <header class="top">
          <h1 ref={heading} tabIndex={-1}>
            {id !== null && view !== undefined ? (
              <>
                <a href={href(page)}>{title}</a> <span aria-hidden="true">/</span>{" "}
                <span class="id">{id}</span>
              </>
            ) : (
              title
            )}
          </h1>
          <Namespaces />
          <Standing />
        </header>
        <Trouble />
        <main id="main" tabIndex={-1}>
          {state.kind === "locked" ? (
            <Lock wrong={state.wrong} />
          ) : state.kind === "refused" ? (
            <Refused />
          ) : view === undefined ? (
            <Empty title="There is no such page">
              <a href={href("overview")}>To the overview</a>
            </Empty>
          ) : id !== null && view.one !== undefined ? (
            <div key={`${of} ${page} ${id}`}>{view.one(id)}</div>
          ) : (
            <div key={`${of} ${page}`}>{view.list()}</div>
          )}
        </main>
      </div>
      <Help />
      <Confirmation />
      <Toasts />
    </>
  );
}

function Menu({ current }: { current: string }) {
  const isOpen = useSignal(false);
  const sample = newest.value;
  const figures: Record<string, number | undefined> = {
    tasks: sample === null ? undefined : sample.tasks.queued + sample.tasks.running,
    workers:
      sample === null ? undefined : sample.workers.idle + sample.workers.busy + sample.workers.draining,
    keys: sample?.keys,
    schedules: sample?.schedules,
  };
  return (
    <nav class={isOpen.value ? "menu open" : "menu"} aria-label="Pages of the dashboard">
      <div class="brand">
        <img src="/dashboard/icon.svg" alt="" width="26" height="26" />
        <b>Cortex</b>
        <button
          type="button"
          class="menu-button"
          aria-expanded={isOpen.value}
          aria-controls="menu-list"
          onClick={() => (isOpen.value = !isOpen.value)}
        >
          Menu
        </button>
      </div>
      <ul id="menu-list">
        {views.map(({ page, title }) => (
          <li key={page}>
            <a
              href={href(page)}
              aria-current={page === current ? "page" : undefined}
              onClick={() => (isOpen.value = false)}
            >
              <span>{title}</span>
              {figures[page] !== undefined && <small>{count(figures[page] as number)}</small>}
            </a>
          </li>
        ))}
      </ul>
      <div class="menu-foot">
        <Themes />
        <button type="button" class="quiet" onClick={() => (helpIsOpen.value = true)}>
          Keyboard <kbd>?</kbd>
        </button>
        <a href="/swagger">API</a>
        <a href="/dashboard/licenses.txt">Licenses</a>
      </div>
    </nav>
  );
}

function Themes() {
  const names: [Theme, string][] = [
    ["system", "Auto"],
    ["light", "Light"],
    ["dark", "Dark"],
  ];
  return (
    <div class="segments" role="group" aria-label="Colours">
      {names.map(([name, title]) => (
        <button key={name} type="button" aria-pressed={theme.value === name} onClick={() => choose(name)}>
          {title}
        </button>
      ))}
    </div>
  );
}

/** Which there are is read when the page is opened, and when somebody opens the list. */
function Namespaces() {
  const reading = useLive((of, options) => of.namespaces.list(options), [], []);
  const names = reading.data?.namespaces.map(({ name }) => name) ?? [];
  const current = namespace();
  const all = names.includes(current) ? names : [current, ...names];
  return (
    <label class="namespace">
      <span>Namespace</span>
      <select
        value={current}
        onFocus={reading.again}
        onChange={({ currentTarget: { value } }) =>
          go(value === "default" ? `#/${route.value.page}` : `#/${route.value.page}?namespace=${value}`)
        }
      >
        {all.map((name) => (
          <option key={name} value={name}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}

function Standing() {
  const { value } = link;
  const words = {
    connecting: "Connecting",
    live: value.kind === "live" && !value.pushes ? "Connected, not live" : "Live",
    lost: "Reconnecting",
    locked: "Locked",
    refused: "Not connected",
  }[value.kind];
  return (
    <p class={`standing ${value.kind}`} role="status">
      <i aria-hidden="true" />
      {words}
    </p>
  );
}

/** What is wrong with the connection, and what is done about it. What was read stays, and says how old it is. */
function Trouble() {
  const { value } = link;
  if (value.kind === "live" && !value.pushes)
    return (
      <div class="trouble" role="status">
        <p>
          <b>Not live.</b> No WebSocket comes through to the daemon, so nothing is pushed: pages show what
          they read when they were opened.
        </p>
        <button type="button" onClick={() => open(namespace())}>
          Look again
        </button>
      </div>
    );
  if (value.kind !== "lost") return null;
  const { since, retryAt, attempt, detail } = value;
  // The daemon's clock goes on with this machine's.
  const seconds = retryAt === null ? 0 : Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
  now.value;
  return (
    <div class="trouble" role="alert">
      <p>
        <b>{since === null ? "The daemon does not answer." : "The connection is lost."}</b>{" "}
        {retryAt === null || seconds === 0
          ? "Connecting again."
          : `Connecting again in ${seconds} s (try ${attempt}).`}{" "}
        {since !== null && `What you see is from ${age(Date.now() - since)} ago.`}{" "}
        <span class="dim">{detail}</span>
      </p>
      <button type="button" onClick={() => open(namespace())}>
        Try now
      </button>
    </div>
  );
}

function Lock({ wrong }: { wrong: boolean }) {
  const field = useRef<HTMLInputElement>(null);
  // There is nothing else to do here.
  useEffect(() => field.current?.focus(), []);
  return (
    <form
      class="card lock"
      onSubmit={(event) => {
        event.preventDefault();
        const token = new FormData(event.currentTarget).get("token");
        if (typeof token === "string" && token !== "") unlock(token, namespace());
      }}
    >
      <h2>This daemon wants a token</h2>
      <p>
        It was started with <code>--token</code> or <code>--token-file</code>. The token is kept in this tab
        alone, until it is closed.
      </p>
      <label>
        <span>Token</span>
        <input
          ref={field}
          name="token"
          type="password"
          autocomplete="off"
          required
          aria-invalid={wrong}
          aria-describedby="token-wrong"
        />
      </label>
      <p id="token-wrong" class="wrong" role="alert">
        {wrong && "That is not the token."}
      </p>
      <div class="actions">
        <button type="submit" class="main">
          Unlock
        </button>
      </div>
    </form>
  );
}

function Refused() {
  const { value } = link;
  if (value.kind !== "refused") return null;
  const gone = value.code === "unknown-namespace" || value.code === "namespace-dropped";
  return (
    <Empty title={gone ? `There is no namespace ${namespace()}` : "The daemon refused the connection"}>
      {!gone && <p>{value.detail}</p>}
      <div class="actions">
        {gone && <a href="#/overview">To the namespace default</a>}
        <button type="button" onClick={() => open(namespace())}>
          Try again
        </button>
      </div>
    </Empty>
  );
}

function Help() {
  if (!helpIsOpen.value) return null;
  const keys: [string[], string][] = [
    [["/"], "Search"],
    [["j"], "Next row"],
    [["k"], "Previous row"],
    [["Enter"], "Open the row"],
    [["Esc"], "Leave a field, close a question"],
    ...views.map(({ key, title }): [string[], string] => [["g", key], title]),
    [["?"], "This list"],
  ];
  return (
    <Dialog title="Keyboard" close={() => (helpIsOpen.value = false)}>
      <dl class="keys">
        {keys.map(([pressed, title]) => (
          <div key={title}>
            <dt>
              {pressed.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{title}</dd>
          </div>
        ))}
      </dl>
      <div class="actions">
        <button type="button" onClick={() => (helpIsOpen.value = false)}>
          Close
        </button>
      </div>
    </Dialog>
  );
}

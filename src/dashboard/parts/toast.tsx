/** What came of something that somebody did: said once, out loud for who cannot see it, and gone by itself. */
import { signal } from "@preact/signals";
import { CortexError } from "../../../client/errors.ts";

type Toast = { id: number; text: string; bad: boolean };
const toasts = signal<Toast[]>([]);
let count = 0;

export function say(text: string, bad = false): void {
  const toast = { id: ++count, text, bad };
  toasts.value = [...toasts.value.slice(-3), toast];
  setTimeout(() => dismiss(toast.id), bad ? 12_000 : 5000);
}
const dismiss = (id: number) => {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
};

export const explained = (error: unknown): string =>
  error instanceof CortexError && error.hint !== ""
    ? `${error.message}. ${error.hint}`
    : (error as Error).message;

/** Carries out what somebody asked for, and says what came of it; false: it was refused. */
export async function act(what: () => Promise<unknown>, done: string): Promise<boolean> {
  try {
    await what();
    say(done);
    return true;
  } catch (error) {
    say(explained(error), true);
    return false;
  }
}

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map(({ id, text, bad }) => (
        <div key={id} class={bad ? "toast bad" : "toast"}>
          <span>{text}</span>
          <button type="button" class="quiet" aria-label="Dismiss" onClick={() => dismiss(id)}>
            ✕
          </button>
        </div>
      ))}
    </div>
  );
}

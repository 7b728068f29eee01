/** A question that stands before everything else, and the one for what cannot be taken back. */
import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

export function Dialog({
  title,
  close,
  children,
}: {
  title: string;
  close: () => void;
  children: ComponentChildren;
}) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = element.current;
    dialog?.showModal();
    return () => dialog?.close();
  }, []);
  return (
    <dialog
      ref={element}
      aria-labelledby="dialog-title"
      onCancel={(event) => {
        event.preventDefault();
        close();
      }}
      onClick={(event) => {
        if (event.target === element.current) close();
      }}
    >
      <div class="dialog-body">
        <h2 id="dialog-title">{title}</h2>
        {children}
      </div>
    </dialog>
  );
}

type Question = { title: string; detail: string; yes: string; carryOut: () => unknown };
const question = signal<Question | null>(null);

/** Asks first. */
export const confirm = (asked: Question): void => {
  question.value = asked;
};

export function Confirmation() {
  const asked = question.value;
  if (asked === null) return null;
  const close = () => {
    question.value = null;
  };
  return (
    <Dialog title={asked.title} close={close}>
      <p>{asked.detail}</p>
      <form
        method="dialog"
        class="actions"
        onSubmit={(event) => {
          event.preventDefault();
          close();
          asked.carryOut();
        }}
      >
        <button type="button" onClick={close}>
          Keep it
        </button>
        <button type="submit" class="danger">
          {asked.yes}
        </button>
      </form>
    </Dialog>
  );
}

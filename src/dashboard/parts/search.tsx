/** Where one types what is to be found; carried out by enter. */
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

export function Search({
  label,
  placeholder,
  value,
  search,
}: {
  label: string;
  placeholder: string;
  /** What is searched for now. */
  value: string;
  /** What is wrong with the text, or null. */
  search: (text: string) => string | null;
}) {
  const wrong = useSignal<string | null>(null);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (input.current !== null) input.current.value = value;
    wrong.value = null;
  }, [value]);
  return (
    <form
      class="search"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        wrong.value = search(input.current?.value ?? "");
      }}
    >
      <input
        ref={input}
        data-search=""
        type="search"
        aria-label={label}
        aria-invalid={wrong.value !== null}
        aria-describedby="search-wrong"
        placeholder={placeholder}
        defaultValue={value}
        autocomplete="off"
        spellcheck={false}
      />
      <kbd>/</kbd>
      <p id="search-wrong" class="wrong" role="status">
        {wrong.value}
      </p>
    </form>
  );
}

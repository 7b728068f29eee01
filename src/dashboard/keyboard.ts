/**
 * Everything can be done by keyboard: / to search, j and k along a list, enter to open, g and a letter to go somewhere,
 * ? for this list. A key means nothing while somebody types, or while a dialog is open, and never with a modifier.
 */
import { signal } from "@preact/signals";
import { go, href } from "./route.ts";

export type Place = { key: string; page: string; title: string };

export const helpIsOpen = signal(false);
/** A g was pressed, and a letter is to follow. */
let leading = false;
let leadingTimer: ReturnType<typeof setTimeout> | null = null;

const typing = (target: EventTarget | null) =>
  target instanceof HTMLElement &&
  (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));

/** What j and k go along: the rows of the view. */
const rows = () => [...document.querySelectorAll<HTMLElement>("main [data-row]")];

function step(by: number): void {
  const all = rows();
  if (all.length === 0) return;
  const at = all.findIndex((row) => row === document.activeElement || row.contains(document.activeElement));
  const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.max(0, Math.min(all.length - 1, at + by))]!;
  next.focus();
  next.scrollIntoView({ block: "nearest" });
}

export function listen(places: readonly Place[]): void {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (typing(event.target)) {
      if (event.key === "Escape") (event.target as HTMLElement).blur();
      return;
    }
    if (document.querySelector("dialog[open]") !== null) return;
    if (leading) {
      leading = false;
      if (leadingTimer !== null) clearTimeout(leadingTimer);
      const place = places.find(({ key }) => key === event.key);
      if (place === undefined) return;
      event.preventDefault();
      go(href(place.page));
      return;
    }
    switch (event.key) {
      case "g":
        leading = true;
        leadingTimer = setTimeout(() => {
          leading = false;
        }, 1500);
        break;
      case "/": {
        const search = document.querySelector<HTMLInputElement>("main [data-search]");
        if (search === null) return;
        search.focus();
        search.select();
        break;
      }
      case "j":
        step(1);
        break;
      case "k":
        step(-1);
        break;
      case "?":
        helpIsOpen.value = true;
        break;
      default:
        return;
    }
    event.preventDefault();
  });
}

/** Dark or light: as the system has it, unless somebody chose; the choice is kept by the browser. */
import { signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";
const key = "cortex-theme";
const kept = localStorage.getItem(key);
export const theme = signal<Theme>(kept === "light" || kept === "dark" ? kept : "system");

const system = matchMedia("(prefers-color-scheme: dark)");
/** What is seen now; plots, which are painted, follow it. */
export const isDark = signal(false);

function show(): void {
  const dark = theme.value === "dark" || (theme.value === "system" && system.matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  isDark.value = dark;
}
system.addEventListener("change", show);
show();

export function choose(next: Theme): void {
  theme.value = next;
  if (next === "system") localStorage.removeItem(key);
  else localStorage.setItem(key, next);
  show();
}

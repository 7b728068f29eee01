/**
 * The page begins here. It is a program that speaks to the daemon as any other client does; renders are gathered, so that
 * however much is pushed, there is one a frame, and none while nobody looks.
 */
import { options, render } from "preact";
import { begin } from "./figures.ts";
import { listen } from "./keyboard.ts";
import { Shell } from "./shell.tsx";
import { views } from "./views.tsx";

options.debounceRendering = (process) => void requestAnimationFrame(() => process());
begin();
listen(views);
render(<Shell />, document.body);

/**
 * A live plot of figures over time. It is painted anew when a sample comes, the theme or the width changes, or the
 * pointer moves; what it shows is written beside it too, for who does not see it.
 */
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import type { Stats } from "../../wire/stats.ts";
import { newest, samples } from "../figures.ts";
import { timeOfDay } from "../format.ts";
import { isDark } from "../theme.ts";

export type Line = {
  name: string;
  /** A colour of style.css. */
  color: string;
  of: (sample: Stats) => number | null;
  area?: boolean;
};

const color = (name: string) =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const height = 150;
/** Ticks of what there is no half of. */
const wholeSteps = [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8].flatMap((ten) => [ten, 2 * ten, 5 * ten]);
/** As wide as the longest of its texts, which are of 11 px. */
const widthOf = (texts: readonly string[] | null): number =>
  Math.max(56, ...(texts ?? []).map((text) => 6 * text.length + 10));

export function Plot({
  title,
  lines,
  write,
  spanMs,
  floor,
  whole,
}: {
  title: string;
  lines: readonly Line[];
  /** A figure as text. */
  write: (value: number) => string;
  spanMs: number;
  /** The axis reaches at least so high. */
  floor: number;
  /** Of figures that are whole, so that no tick is between two. */
  whole?: boolean;
}) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const span = useRef(spanMs);
  span.current = spanMs;
  const pointed = useSignal<number | null>(null);
  const dark = isDark.value;
  const sample = newest.value;

  const data = (): uPlot.AlignedData => {
    const from = (newest.peek()?.at ?? 0) - spanMs;
    const first = samples.findIndex(({ at }) => at >= from);
    const shown = first < 0 ? [] : samples.slice(first);
    return [shown.map(({ at }) => at / 1000), ...lines.map(({ of }) => shown.map(of))];
  };

  useEffect(() => {
    const element = place.current as HTMLDivElement;
    const grid = { stroke: color("line"), width: 1 };
    const font = "11px Inter, system-ui, sans-serif";
    const axis = { stroke: color("dim"), font, ticks: { show: false }, border: { show: false } };
    const made = new uPlot(
      {
        width: element.clientWidth,
        height,
        padding: [10, 26, 0, 0],
        legend: { show: false },
        cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
        scales: {
          x: {
            range: () => [((newest.peek()?.at ?? 0) - span.current) / 1000, (newest.peek()?.at ?? 0) / 1000],
          },
          y: { range: (_, __, max) => [0, Math.max(floor, (max ?? 0) * 1.15)] },
        },
        axes: [
          {
            ...axis,
            grid: { show: false },
            size: 26,
            values: (_, ticks) => ticks.map((at) => timeOfDay(at * 1000)),
            space: 90,
          },
          {
            ...axis,
            grid,
            size: (_, texts) => widthOf(texts),
            values: (_, ticks) => ticks.map(write),
            space: 34,
            ...(whole && { incrs: wholeSteps }),
          },
        ],
        series: [
          {},
          ...lines.map((line) => ({
            label: line.name,
            stroke: color(line.color),
            width: 1.75,
            points: { show: false },
            spanGaps: true,
            ...(line.area && { fill: `${color(line.color)}22` }),
          })),
        ],
        hooks: {
          setCursor: [
            (of) => {
              pointed.value = of.cursor.idx ?? null;
            },
          ],
        },
      },
      data(),
      element,
    );
    plot.current = made;
    const sized = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height }));
    sized.observe(element);
    return () => {
      sized.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [dark]);

  useEffect(() => {
    plot.current?.setData(data());
  }, [sample, spanMs]);

  const shown = plot.current?.data;
  const index = pointed.value;
  const at = index === null ? null : shown?.[0][index];
  const figureOf = (line: Line, i: number): number | null =>
    at == null
      ? sample === null
        ? null
        : line.of(sample)
      : ((shown?.[i + 1]?.[index as number] as number) ?? null);
  const written = lines.map((line, i) => {
    const value = figureOf(line, i);
    return { ...line, text: value === null ? "–" : write(value) };
  });
  return (
    <section class="card plot" aria-label={title}>
      <header>
        <h2>{title}</h2>
        <span class="dim">{at == null ? "" : timeOfDay(at * 1000)}</span>
      </header>
      <ul class="legend">
        {written.map(({ name, color: of, text }) => (
          <li key={name}>
            <i class={`swatch ${of}`} aria-hidden="true" />
            <span>{name}</span>
            <b>{text}</b>
          </li>
        ))}
      </ul>
      <div
        ref={place}
        class="canvas"
        role="img"
        aria-label={`${title} over time. Now: ${written.map(({ name, text }) => `${name} ${text}`).join(", ")}.`}
      />
    </section>
  );
}

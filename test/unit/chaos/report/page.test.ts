import { expect, test } from "vitest";
import { judge } from "../../../../chaos/drill/limits.ts";
import { chart, niceCeiling } from "../../../../chaos/report/chart.ts";
import { highestPerBucket, reportPage } from "../../../../chaos/report/page.ts";
import { goodMeasurement } from "../drill/results.ts";

const facts = { profile: "lan", environment: ["2 x <cpu>"], createdAt: "today" } as const;

test("reportPage() is one file: no script, nothing loaded from elsewhere", () => {
  const page = reportPage({ ...facts, results: [judge(goodMeasurement(), "lan")] });
  expect(page).not.toMatch(/<script|https?:|src=|<link|@import/);
  expect(page.match(/<svg/g)).toHaveLength(3);
  expect(page).toContain("1 of 1 passed");
});

test("reportPage() says why a drill failed", () => {
  const failed = judge(goodMeasurement({ translationsLost: 2 }), "lan");
  expect(reportPage({ ...facts, results: [failed] })).toContain("2 translated addresses changed");
});

test("reportPage() escapes what others wrote", () => {
  const page = reportPage({ ...facts, results: [judge(goodMeasurement({ victim: "<b>" }), "lan")] });
  expect(page).not.toContain("<b>");
  expect(page).toContain("2 x &lt;cpu&gt;");
});

test("chart() draws numbers only, also of empty series", () => {
  const svg = chart({
    title: "t",
    unit: "ms",
    kind: "stack",
    series: [{ name: "a", color: "red", points: [] }],
    markers: [],
    fromS: -1,
    toS: 5,
  });
  expect(svg).not.toMatch(/NaN|undefined|Infinity/);
});

test.each([
  [5, 5],
  [5.1, 8],
  [12, 20],
  [64, 80],
  [120, 200],
  [0.3, 0.5],
])("niceCeiling(%s) is %s", (value, ceiling) => {
  expect(niceCeiling(value)).toBeCloseTo(ceiling);
});

test("highestPerBucket() keeps every peak", () => {
  expect(
    highestPerBucket(
      [
        [1, 5],
        [19, 9],
        [21, 1],
      ],
      20,
    ),
  ).toEqual([
    [0, 9],
    [20, 1],
  ]);
});

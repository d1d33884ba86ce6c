/**
 * Schedules as operators write them: days of the week and times of the day, all in UTC. Owns the notation.
 */
import type { ScheduleModel } from "../dataplane/policy-model.ts";

/** Bit 0 of a set of days is Sunday. */
const DAY_NAMES: readonly string[] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const DAYS = DAY_NAMES.length;
const ALL_DAYS = 2 ** DAYS - 1;
export const DAY_MINUTES = 1440;

export interface ScheduleSource {
  /** Sets of days, as bits; none: every day. */
  readonly days: readonly number[];
  /** Minutes of the day; absent: its beginning, its end. */
  readonly from?: number | undefined;
  readonly to?: number | undefined;
}

/** "mon" or "mon-fri" (also over the week's end: "sat-mon") as bits. */
export function parseDays(text: string): number | undefined {
  const [from = "", to = from, ...rest] = text.split("-");
  const first = DAY_NAMES.indexOf(from);
  const last = DAY_NAMES.indexOf(to);
  if (first < 0 || last < 0 || rest.length > 0) return undefined;
  let days = 0;
  for (let day = first; ; day = (day + 1) % DAYS) {
    days |= 1 << day;
    if (day === last) return days;
  }
}

/** "08:30" as minutes since midnight, up to "24:00". */
export function parseTimeOfDay(text: string): number | undefined {
  const match = /^(\d{2}):(\d{2})$/.exec(text);
  if (match === null || Number(match[2]) > 59) return undefined;
  const minute = Number(match[1]) * 60 + Number(match[2]);
  return minute <= DAY_MINUTES ? minute : undefined;
}

export function formatTimeOfDay(minute: number): string {
  const two = (n: number): string => String(n).padStart(2, "0");
  return `${two(Math.floor(minute / 60))}:${two(minute % 60)}`;
}

export function compileSchedule(source: ScheduleSource): ScheduleModel {
  return {
    days: source.days.length === 0 ? ALL_DAYS : source.days.reduce((all, some) => all | some, 0),
    fromMinute: source.from ?? 0,
    toMinute: source.to ?? DAY_MINUTES,
  };
}

/** "mon tue 08:00-18:00 UTC". */
export function formatSchedule(schedule: ScheduleModel): string {
  const days = DAY_NAMES.filter((_, day) => (schedule.days & (1 << day)) !== 0);
  const times = `${formatTimeOfDay(schedule.fromMinute)}-${formatTimeOfDay(schedule.toMinute)} UTC`;
  return days.length === DAYS ? times : `${days.join(" ")} ${times}`;
}

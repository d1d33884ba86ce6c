/** Exit statuses of a member that ran: what a supervisor, and its record, can tell from them. The units in config/systemd name EXIT_RESTART. */

/** A member that cannot go on: its peers take over, a supervisor starts it again. */
export const EXIT_FAILED = 70;
/** One of its threads hung; a number of its own, so that a supervisor's record tells why. */
export const EXIT_HUNG = 71;
/** It was asked to be started anew: a supervisor must start it again, whatever build is installed by then (EX_TEMPFAIL). */
export const EXIT_RESTART = 75;
/** What it found out about itself would be the same at the next start: a supervisor must not start it again. */
export const EXIT_WRONG = 2;

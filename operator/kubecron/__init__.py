"""Cron schedules and time zones, as Kubernetes' CronJob reads them.

In: a schedule and the name of a time zone, as text. Out: whether Kubernetes accepts them, and the times that they mean.
It follows the standard parser of github.com/robfig/cron v3, which Kubernetes uses, also where that differs from other
crons: the day of the week is 0 to 6, `*/2` in a day field is no `*`, and daylight saving is handled as there.
It knows nothing of Penstock or of the embedded API, which both use it, and it never reads the clock.
"""

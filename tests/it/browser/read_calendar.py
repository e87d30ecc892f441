"""Reads a calendar with the icalendar library and prints what it says as JSON: what a program that subscribes to it would know of each event.

The calendar comes on standard input. What the library cannot read whole ends the program.
"""
import json
import sys

import icalendar

calendar = icalendar.Calendar.from_ical(sys.stdin.buffer.read())


def text(component, name):
    value = component.get(name)
    return None if value is None else str(value)


def event(it):
    assert not it.errors, it.errors
    alarms = [alarm.TRIGGER.total_seconds() for alarm in it.walk("VALARM")]
    assert all(alarm["ACTION"] == "DISPLAY" and alarm["DESCRIPTION"] for alarm in it.walk("VALARM"))
    stamps = {it.decoded("DTSTAMP"), it.decoded("LAST-MODIFIED")}
    assert len(stamps) == 1, stamps
    return {
        "uid": text(it, "UID"),
        "sequence": int(it["SEQUENCE"]),
        "stamp": it.decoded("DTSTAMP").timestamp(),
        "start": int(it.decoded("DTSTART").timestamp()),
        "seconds": it.decoded("DURATION").total_seconds(),
        "summary": text(it, "SUMMARY"),
        "description": text(it, "DESCRIPTION"),
        "status": text(it, "STATUS"),
        "url": text(it, "URL"),
        "alarms": alarms,
    }


print(json.dumps({
    "method": text(calendar, "METHOD"),
    "name": text(calendar, "NAME"),
    "x_name": text(calendar, "X-WR-CALNAME"),
    "description": text(calendar, "X-WR-CALDESC"),
    "refresh": calendar.decoded("REFRESH-INTERVAL").total_seconds() if "REFRESH-INTERVAL" in calendar else None,
    "events": [event(it) for it in calendar.walk("VEVENT")],
    "errors": [str(error) for error in calendar.errors],
}))

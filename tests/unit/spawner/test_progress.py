from __future__ import annotations

import asyncio

from dockerspawner._start.progress import MOST, Story


async def follow(story: Story) -> list[dict[str, object]]:
    return [event async for event in story.follow()]


async def test_every_reader_gets_the_whole_story() -> None:
    story = Story()
    early = asyncio.create_task(follow(story))
    story.tell(10, "one")
    await asyncio.sleep(0)
    late = asyncio.create_task(follow(story))
    story.tell(20, "two")
    story.end()
    expected = [{"progress": 10, "message": "one"}, {"progress": 20, "message": "two"}]
    assert await early == expected
    assert await late == expected


async def test_progress_never_goes_back_and_nothing_is_said_twice() -> None:
    story = Story()
    story.tell(50, "one")
    story.tell(50, "one")
    story.tell(10, "two")
    story.end("failed")
    story.end("again")
    story.tell(90, "too late")
    assert await follow(story) == [
        {"progress": 50, "message": "one"},
        {"progress": 50, "message": "two"},
        {"message": "failed"},
    ]


async def test_tell_a_series_keeps_its_newest_event_for_readers_that_come_later() -> None:
    story = Story()
    story.tell(5, "before")
    early = asyncio.create_task(follow(story))
    for megabytes in range(7_200):
        story.tell(10 + megabytes // 200, f"{megabytes} MB", "pull")
        if megabytes == 3_600:
            await asyncio.sleep(0)
    story.tell(60, "after")
    story.end()
    assert await follow(story) == [
        {"progress": 5, "message": "before"},
        {"progress": 45, "message": "7199 MB"},
        {"progress": 60, "message": "after"},
    ]
    assert [event["message"] for event in await early] == ["before", "3600 MB", "7199 MB", "after"]


async def test_tell_more_than_is_kept_drops_the_oldest() -> None:
    story = Story()
    for number in range(10 * MOST):
        story.tell(number, str(number))
    story.end("failed")
    told = await follow(story)
    assert len(told) == MOST
    assert told[-2:] == [{"progress": 10 * MOST - 1, "message": str(10 * MOST - 1)}, {"message": "failed"}]


async def test_follow_a_reader_that_is_busy_at_the_end_misses_nothing() -> None:
    story = Story()
    story.tell(1, "one")
    heard = []
    async for event in story.follow():
        heard.append(event["message"])
        if event["message"] == "one":
            story.tell(2, "two")
            story.end("three")
    assert heard == ["one", "two", "three"]

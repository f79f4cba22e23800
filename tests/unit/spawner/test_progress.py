from __future__ import annotations

import asyncio

from dockerspawner.progress import Story


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

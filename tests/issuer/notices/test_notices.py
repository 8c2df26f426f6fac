"""The outbox of notices: each once, as a row and as an event, to those whom it concerns."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

from services.issuer.notices import outbox
from services.issuer.notices.outbox import Draft
from tests.issuer.office import Office


def post(office: Office, kind: str, key: str, **to: UUID | None) -> bool:
    with office.service.runtime.transaction() as session:
        return outbox.post(session, kind, key, {"percent": 80}, **to)


def listed(office: Office, query: str = "", role: str = "finance", scope: UUID | None = None) -> list[tuple[str, str]]:
    items = office.made(office.get(f"/v1/notices{query}", role, scope), 200)["items"]
    return [(notice["kind"], notice["key"]) for notice in items]


def test_a_notice_is_posted_once_and_told_once(office: Office) -> None:
    envelope = uuid4()
    assert post(office, "envelope.used", "e/80", subject_id=envelope)
    assert not post(office, "envelope.used", "e/80", subject_id=envelope)
    [told] = office.events("notice.posted")
    [shown] = office.made(office.get("/v1/notices"), 200)["items"]
    assert told == {name: shown[name] for name in told}
    assert told["subject_id"] == str(envelope)
    assert told["body"] == {"percent": 80}


def test_the_same_key_under_another_kind_is_another_notice(office: Office) -> None:
    assert post(office, "one", "key")
    assert post(office, "two", "key")
    assert listed(office, "?kind=two") == [("two", "key")]


def test_notices_posted_together_by_two_at_once_are_told_once(office: Office) -> None:
    def post_some(order: int) -> int:
        drafts = [Draft(str(number), {"number": number}) for number in range(50)][::order]
        with office.service.runtime.transaction() as session:
            return outbox.post_all(session, "many", drafts)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(post_some, (1, -1, 1, -1))) == 50
    assert len(office.events("notice.posted")) == 50


def test_a_prescriber_reads_what_concerns_it_alone(office: Office) -> None:
    other = office.prescriber_named("other")
    post(office, "kind", "mine", prescriber_id=office.prescriber)
    post(office, "kind", "theirs", prescriber_id=other)
    post(office, "kind", "nobody's")
    assert listed(office, role="prescriber", scope=office.prescriber) == [("kind", "mine")]
    assert len(listed(office)) == 3


def test_a_notice_that_is_not_committed_was_never_posted(office: Office) -> None:
    with office.service.runtime.transaction() as session:
        outbox.post(session, "kind", "key", {})
        session.rollback()
    assert post(office, "kind", "key")


def test_notices_are_paged_and_filtered_by_what_they_are_about(office: Office) -> None:
    about = uuid4()
    for number in range(3):
        post(office, "kind", str(number), subject_id=about if number else None)
    first = office.made(office.get("/v1/notices?limit=2"), 200)
    second = office.made(office.get(f"/v1/notices?limit=2&after={first['next']}"), 200)
    assert [notice["key"] for notice in first["items"] + second["items"]] == ["0", "1", "2"]
    assert listed(office, f"?subject_id={about}") == [("kind", "1"), ("kind", "2")]

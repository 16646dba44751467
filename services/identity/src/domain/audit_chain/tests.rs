use super::*;

const PERSON: Uuid = Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057);

fn event(number: i64) -> ChainedEvent {
    ChainedEvent {
        number,
        event: "sign_in".into(),
        refused: number % 2 == 0,
        service: (number % 3 == 0).then(|| "backend".into()),
        session_id: (number % 2 == 1).then(|| Uuid::from_u128(7)),
        network_mac: (number % 3 == 1).then(|| vec![0xab; 32]),
        micros: Some(1_800_000_000_000_000 + number),
        digest: Vec::new(),
    }
}

/// A chain of events `trimmed + 1` to `last`.
fn chain(trimmed: i64, last: i64) -> (ChainEnds, Vec<ChainedEvent>) {
    let mut previous = vec![0; 32];
    let mut trimmed_digest = previous.clone();
    let mut events = Vec::new();
    for number in 1..=last {
        let mut event = event(number);
        event.digest = digest(&previous, PERSON, &event).unwrap().to_vec();
        previous.clone_from(&event.digest);
        if number == trimmed {
            trimmed_digest.clone_from(&previous);
        } else if number > trimmed {
            events.push(event);
        }
    }
    let ends = ChainEnds {
        trimmed_number: trimmed,
        trimmed_digest,
        last_number: last,
        last_digest: previous,
    };
    (ends, events)
}

fn verify(ends: &ChainEnds, events: &[ChainedEvent]) -> Option<(i64, Flaw)> {
    let mut walk = ChainWalk::begin(PERSON, ends);
    for event in events {
        walk.take(ends, event);
    }
    walk.end(ends).map(|found| (found.number, found.flaw))
}

#[test]
fn a_digest_is_the_hash_of_the_previous_digest_and_the_line() {
    let mut one = event(1);
    one.refused = true;
    one.service = Some("backend".into());
    // The digest that `printf '…' | sha256sum` prints for 32 zero bytes and the line.
    let line = "01890a5d-ac96-774b-bcce-b302099a8057|1|sign_in|refused|00000000-0000-0000-0000-000000000007|\
        abababababababababababababababababababababababababababababababab|1800000000000001|backend";
    let expected: [u8; 32] = Sha256::digest([&[0; 32], line.as_bytes()].concat()).into();
    assert_eq!(digest(&[0; 32], PERSON, &one), Some(expected));
    let without_options = ChainedEvent {
        service: None,
        session_id: None,
        network_mac: None,
        ..one
    };
    let line = "01890a5d-ac96-774b-bcce-b302099a8057|1|sign_in|refused|||1800000000000001|";
    let expected: [u8; 32] = Sha256::digest([&[0; 32], line.as_bytes()].concat()).into();
    assert_eq!(digest(&[0; 32], PERSON, &without_options), Some(expected));
}

#[test]
fn an_intact_chain_is_verified_even_when_it_was_trimmed() {
    for (trimmed, last) in [(0, 0), (0, 1), (0, 9), (1, 9), (8, 9), (9, 9)] {
        let (ends, events) = chain(trimmed, last);
        assert_eq!(verify(&ends, &events), None, "{trimmed} to {last}");
    }
}

#[test]
fn a_change_of_any_field_of_any_event_is_found() {
    let changes: [fn(&mut ChainedEvent); 7] = [
        |event| event.event = "sign_out".into(),
        |event| event.refused = !event.refused,
        |event| event.service = Some("other".into()),
        |event| event.session_id = Some(Uuid::from_u128(8)),
        |event| event.network_mac = Some(vec![0xcd; 32]),
        |event| event.micros = Some(1),
        |event| event.micros = None,
    ];
    for change in changes {
        for number in 3..=9 {
            let (ends, mut events) = chain(2, 9);
            change(events.iter_mut().find(|event| event.number == number).unwrap());
            assert_eq!(verify(&ends, &events), Some((number, Flaw::Changed)));
        }
    }
}

#[test]
fn missing_and_inserted_events_are_found() {
    let (ends, events) = chain(2, 9);
    for position in 0..events.len() {
        let mut fewer = events.clone();
        let number = fewer.remove(position).number;
        assert_eq!(verify(&ends, &fewer), Some((number, Flaw::Missing)));
    }
    let mut more = events.clone();
    more.push(event(10));
    assert_eq!(verify(&ends, &more), Some((10, Flaw::Inserted)));
    let mut older = events.clone();
    older.insert(0, event(2));
    assert_eq!(verify(&ends, &older), Some((2, Flaw::Inserted)));
    let mut far = events.clone();
    far.push(event(20));
    assert_eq!(verify(&ends, &far), Some((10, Flaw::Inserted)));
    let mut swapped = events;
    swapped.swap(1, 3);
    swapped[1].number = 4;
    swapped[3].number = 6;
    assert_eq!(verify(&ends, &swapped), Some((4, Flaw::Changed)));
}

#[test]
fn a_change_of_the_stored_ends_is_found() {
    let (mut ends, events) = chain(2, 9);
    ends.last_digest = vec![1; 32];
    assert_eq!(verify(&ends, &events), Some((9, Flaw::EndChanged)));
    let (mut ends, events) = chain(2, 9);
    ends.trimmed_digest = vec![1; 32];
    assert_eq!(verify(&ends, &events), Some((3, Flaw::Changed)));
    let (mut ends, events) = chain(2, 9);
    ends.trimmed_number = 3;
    assert_eq!(verify(&ends, &events), Some((3, Flaw::Inserted)));
    let (mut ends, events) = chain(2, 9);
    ends.last_number = 8;
    assert_eq!(verify(&ends, &events), Some((9, Flaw::Inserted)));
    let (mut ends, _) = chain(9, 9);
    ends.last_digest = vec![1; 32];
    assert_eq!(verify(&ends, &[]), Some((9, Flaw::EndChanged)));
}

#[test]
fn trimming_and_appending_during_the_verification_is_not_a_flaw() {
    let (early, events) = chain(0, 9);
    // Three events were read, then five were trimmed and two were appended.
    let (late, appended) = chain(5, 11);
    let mut walk = ChainWalk::begin(PERSON, &early);
    events[..3].iter().for_each(|event| walk.take(&early, event));
    walk.resume(&late);
    appended.iter().for_each(|event| walk.take(&late, event));
    assert_eq!(walk.end(&late), None);
    assert_eq!(walk.events(), 9);
}

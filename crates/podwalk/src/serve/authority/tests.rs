use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::uri::{Authority, Uri};
use axum::routing::post;
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::block::{NotUnderstood, mend_block};
use super::frames::PREFACE;
use super::*;

const RAW: &[u8] = b"/run/podwalk/podwalk.sock";
const ENCODED: &[u8] = b"%2Frun%2Fpodwalk%2Fpodwalk.sock";
const RAW_MENDED: &[u8] = b"-run-podwalk-podwalk.sock";
const ENCODED_MENDED: &[u8] = b"-2Frun-2Fpodwalk-2Fpodwalk.sock";

/// `:method: POST`, `:scheme: http`, and a path of a length in two bytes.
fn before() -> Vec<u8> {
    [&[0x83, 0x86, 0x04, 0x7f, 0x49][..], &[b'/'; 200]].concat()
}

/// A literal without indexing whose name is a literal too, and one of the
/// dynamic table.
const AFTER: &[u8] = b"\x00\x02te\x08trailers\xbe";

fn raw(text: &[u8]) -> Vec<u8> {
    assert!(text.len() < 127);
    [&[u8::try_from(text.len()).unwrap()], text].concat()
}

fn huffman(text: &[u8]) -> Vec<u8> {
    let mut coded = Vec::new();
    httlib_huffman::encode(text, &mut coded).unwrap();
    let mut text = raw(&coded);
    text[0] |= 0x80;
    text
}

fn block(field: &[u8], value: &[u8]) -> Vec<u8> {
    [&before(), field, value, AFTER].concat()
}

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame_of(kind, flags, 1, payload)
}

fn frame_of(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let [.., a, b, c] = payload.len().to_be_bytes();
    [&[a, b, c, kind, flags, 0, 0, 0, stream], payload].concat()
}

const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// A message, and what looks like a field in it.
fn data() -> Vec<u8> {
    frame(0, 1, &block(&[0x41], &raw(RAW)))
}

fn connection(frames: &[&[u8]]) -> Vec<u8> {
    [PREFACE, SETTINGS, &frames.concat(), &data()].concat()
}

/// What is passed on of bytes that come in pieces.
fn passed_on<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut mending = Mending::new();
    let mut out = Vec::new();
    for piece in pieces {
        mending.take(piece, &mut out);
    }
    mending.give_up(&mut out);
    out
}

/// Whatever the pieces are that the bytes come in.
fn becomes(given: &[u8], expected: &[u8]) {
    for at in 0..=given.len() {
        let (one, other) = given.split_at(at);
        assert!(passed_on([one, other]) == expected, "split at {at}");
    }
    assert!(passed_on(given.chunks(1)) == expected, "byte by byte");
}

fn stays(given: &[u8]) {
    becomes(given, given);
}

#[test]
fn an_authority_that_is_one_is_left_as_it_is() {
    for valid in ["localhost", "[::1]:80", "a.example:443", "user@x", ""] {
        for value in [raw(valid.as_bytes()), huffman(valid.as_bytes())] {
            assert_eq!(mend_block(&block(&[0x41], &value)), Ok(None), "{valid}");
            stays(&connection(&[&frame(1, 4, &block(&[0x41], &value))]));
        }
    }
}

#[test]
fn a_path_is_replaced_by_as_many_bytes() {
    assert_eq!(RAW.len(), RAW_MENDED.len());
    assert_eq!(ENCODED.len(), ENCODED_MENDED.len());
    let literal_name = [&[0x40][..], &raw(b":authority")].concat();
    let huffman_name = [&[0x00][..], &huffman(b":authority")].concat();
    for name in [&[0x41][..], &[0x01], &[0x11], &literal_name, &huffman_name] {
        for (path, mended) in [(RAW, RAW_MENDED), (ENCODED, ENCODED_MENDED)] {
            let mended = block(name, &raw(mended));
            for value in [raw(path), huffman(path)] {
                assert_eq!(mend_block(&block(name, &value)), Ok(Some(mended.clone())));
                becomes(
                    &connection(&[&frame(1, 4, &block(name, &value))]),
                    &connection(&[&frame(1, 4, &mended)]),
                );
            }
        }
    }
}

#[test]
fn a_long_value_and_a_change_of_the_tables_size_are_read() {
    let path = [b'/'; 300];
    let long = |byte| {
        [
            &[0x3f, 0xe1, 0x1f, 0x41, 0x7f, 0xad, 0x01][..],
            &[byte; 300],
        ]
        .concat()
    };
    assert_eq!(mend_block(&long(path[0])), Ok(Some(long(b'-'))));
    let edge = |byte| [&[0x41, 0x7f, 0x00][..], &[byte; 127]].concat();
    assert_eq!(mend_block(&edge(b'%')), Ok(Some(edge(b'-'))));
    let wide = |byte| [&[0x41, 0x7f, 0x81, 0x7f][..], &[byte; 127 + 1 + (127 << 7)]].concat();
    assert_eq!(mend_block(&wide(b'/')), Ok(Some(wide(b'-'))));
}

#[test]
fn padding_goes_and_priority_stays() {
    let priority = [0x80, 0, 0, 3, 200];
    let path = block(&[0x41], &huffman(RAW));
    let mended = block(&[0x41], &raw(RAW_MENDED));
    let padded = [&[7][..], &priority, &path, &[0; 7]].concat();
    becomes(
        &connection(&[&frame(1, 0x2d, &padded)]),
        &connection(&[&frame(1, 0x25, &[&priority[..], &mended].concat())]),
    );
    let valid = block(&[0x41], &huffman(b"localhost"));
    let padded = [&[7][..], &priority, &valid, &[0; 7]].concat();
    stays(&connection(&[&frame(1, 0x2d, &padded)]));
    // More padding than there is frame, and no room for the fields.
    stays(&connection(&[
        &frame(1, 0x0c, &[3, 0x83, 0]),
        &frame(1, 4, &path),
    ]));
    stays(&connection(&[&frame(1, 0x0c, &[]), &frame(1, 4, &path)]));
    stays(&connection(&[
        &frame(1, 0x24, &[0; 4]),
        &frame(1, 4, &path),
    ]));
}

#[test]
fn a_block_in_several_frames_becomes_one() {
    let path = block(&[0x41], &huffman(RAW));
    let mended = frame(1, 5, &block(&[0x41], &raw(RAW_MENDED)));
    let (one, rest) = path.split_at(before().len() + 4);
    let (two, three) = rest.split_at(5);
    let parts = [
        frame(1, 9, &[&[2], one, &[0, 0]].concat()),
        frame(9, 0, two),
        frame(9, 0, &[]),
        frame(9, 4, three),
    ];
    becomes(&connection(&[&parts.concat()]), &connection(&[&mended]));
    // Another frame between, and another stream's.
    let whole = frame(1, 4, &path);
    stays(&connection(&[&parts[0], &data(), &parts[3], &whole]));
    stays(&connection(&[&parts[0], &frame_of(9, 4, 3, three), &whole]));
    stays(&connection(&[&frame(9, 4, three)]));
    let valid = block(&[0x41], &raw(b"localhost"));
    let (one, two) = valid.split_at(20);
    stays(&connection(&[&frame(1, 0, one), &frame(9, 4, two)]));
}

#[test]
fn what_does_not_fit_is_passed_on_and_all_that_follows() {
    let path = block(&[0x41], &huffman(RAW));
    let whole = frame(1, 4, &path);
    let filled = |length: usize| {
        let field = [&[0, 1, b'x', 0x7f, 0x81, 0x7d][..], &[b'y'; 16_128]].concat();
        assert_eq!(mend_block(&field), Ok(None));
        let more = length - path.len() - field.len();
        [&path[..], &vec![0x82; more], &field].concat()
    };
    let check = |given: Vec<u8>| assert!(passed_on(given.chunks(1000)) == given);
    let growth = raw(RAW_MENDED).len() - huffman(RAW).len();
    let fits = passed_on([&connection(&[&frame(1, 4, &filled(16_384 - growth))])[..]]);
    assert!(fits[PREFACE.len() + 9..].starts_with(&[0, 0x40, 0, 1, 4]));
    check(connection(&[
        &frame(1, 4, &filled(16_384 - growth + 1)),
        &whole,
    ]));
    check(connection(&[&frame(1, 4, &[0x82; 16_385]), &whole]));
    let mut flood = frame(1, 0, &path);
    for _ in 0..5 {
        flood.extend(frame(9, 0, &[0x82; 16_000]));
    }
    check(connection(&[&flood, &frame(9, 4, &[]), &whole]));
}

#[test]
fn a_block_that_cannot_be_read_is_passed_on_and_all_that_follows() {
    let whole = frame(1, 4, &block(&[0x41], &raw(RAW)));
    let bad: [&[u8]; 7] = [
        b"\x41",
        b"\x41\x05/run",
        b"\x41\x04/run\x00",
        b"\x41\x7f",
        b"\xff\xff\xff\xff\xff\xff",
        // An encoding with a zero at its end, and one of no symbol at all.
        b"\x41\x81\x60",
        b"\x41\x84\xff\xff\xff\xff",
    ];
    for bad in bad {
        assert_eq!(mend_block(bad), Err(NotUnderstood), "{bad:x?}");
        stays(&connection(&[&frame(1, 4, bad), &whole]));
    }
}

#[test]
fn every_byte_is_decoded() {
    for byte in 0..=255 {
        let given = [&[0x41][..], &huffman(&[b'/', byte])].concat();
        let Ok(Some(mended)) = mend_block(&given) else {
            panic!("{byte}");
        };
        assert_eq!(mended[..3], [0x41, 2, b'-']);
        let kept = byte.is_ascii_alphanumeric() || byte == b'.';
        assert_eq!(mended[3], if kept { byte } else { b'-' });
    }
}

#[test]
fn nothing_waits_that_is_not_of_a_header_block() {
    let mut mending = Mending::new();
    let mut out = Vec::new();
    let given = [PREFACE, SETTINGS, &data()[..40]].concat();
    for (at, byte) in given.iter().enumerate() {
        mending.take(&[*byte], &mut out);
        let frame = at.saturating_sub(PREFACE.len());
        let whole = at < PREFACE.len() || frame % 9 == 8 || frame > 18;
        assert!(!whole || out.len() == at + 1, "byte {at}");
    }
    let mut mending = Mending::new();
    let mut out = Vec::new();
    mending.take(b"P", &mut out);
    assert_eq!(out, b"P");
    mending.take(b"OST / HTTP/1.1\r\n", &mut out);
    assert_eq!(out, b"POST / HTTP/1.1\r\n");
    assert!(mending.is_over());
}

proptest! {
    #[test]
    fn what_is_not_http2_comes_out_as_it_went_in(bytes in vec(any::<u8>(), 0..300), seen in 0..24usize) {
        let given = [&PREFACE[..seen], &bytes].concat();
        prop_assume!(!given.starts_with(PREFACE));
        prop_assert!(passed_on(given.chunks(7)) == given);
    }

    #[test]
    fn any_frames_are_taken_and_their_pieces_do_not_matter(
        frames in vec((0..11u8, any::<u8>(), vec(any::<u8>(), 0..40)), 0..8),
        tail in vec(any::<u8>(), 0..30),
        size in 1..50usize,
    ) {
        let mut given = PREFACE.to_vec();
        for (kind, flags, payload) in frames {
            given.extend(frame(kind, flags, &payload));
        }
        given.extend(tail);
        prop_assert!(passed_on(given.chunks(size)) == passed_on([&given[..]]));
    }

    #[test]
    fn any_block_is_read_or_refused(block in vec(any::<u8>(), 0..60)) {
        // What is mended needs no mending.
        if let Ok(Some(mended)) = mend_block(&block) {
            prop_assert_eq!(mend_block(&mended), Ok(None));
        }
    }

    #[test]
    fn any_value_is_as_long_as_before(value in vec(any::<u8>(), 1..33), coded in any::<bool>()) {
        let text = if coded { huffman(&value) } else { raw(&value) };
        let given = [&[0x41][..], &text].concat();
        match mend_block(&given).unwrap() {
            None => prop_assert!(Authority::try_from(&value[..]).is_ok()),
            Some(mended) => {
                prop_assert_eq!(usize::from(mended[1]), value.len());
                prop_assert_eq!(mended.len(), value.len() + 2);
                prop_assert!(Authority::try_from(&mended[2..]).is_ok());
            }
        }
    }
}

/// The bodies of so many answers, each of which begins with `:status: 200`.
async fn answers(stream: &mut UnixStream, mut number: usize) -> BTreeMap<u8, Vec<u8>> {
    let mut bodies = BTreeMap::new();
    while number > 0 {
        let mut header = [0; 9];
        stream.read_exact(&mut header).await.unwrap();
        let [a, b, c, kind, flags, .., id] = header;
        let length = u32::from_be_bytes([0, a, b, c]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.unwrap();
        match kind {
            0 => bodies.entry(id).or_insert(Vec::new()).extend(payload),
            1 => assert_eq!(payload[0], 0x88),
            3 | 7 => panic!("RST_STREAM or GOAWAY: {payload:x?}"),
            _ => continue,
        }
        number -= usize::from(flags & 1);
    }
    bodies
}

/// Two requests, the second with the first's authority by its index.
fn requests(path: &[u8]) -> Vec<u8> {
    let first = [&[0x83, 0x86, 0x84, 0x41][..], &huffman(path)].concat();
    let first = frame_of(1, 5, 1, &first);
    let second = frame_of(1, 5, 3, &[0x83, 0x86, 0x84, 0xbe]);
    [PREFACE, SETTINGS, &first, &second].concat()
}

#[tokio::test]
async fn a_server_answers_who_names_its_socket_as_authority() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("x.sock");
    let listener = Listener::new(UnixListener::bind(&socket).unwrap());
    let seen = |uri: Uri| async move { uri.authority().unwrap().to_string() };
    let api = axum::Router::new().route("/", post(seen).get(|| async { "one" }));
    tokio::spawn(async move { axum::serve(listener, api).await });
    let asked = async {
        for (path, mended) in [(RAW, RAW_MENDED), (ENCODED, ENCODED_MENDED)] {
            let mut client = UnixStream::connect(&socket).await.unwrap();
            client.write_all(&requests(path)).await.unwrap();
            let seen = BTreeMap::from([1, 3].map(|id| (id, mended.to_vec())));
            assert_eq!(answers(&mut client, 2).await, seen);
        }
        let mut client = UnixStream::connect(&socket).await.unwrap();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("\r\n\r\none"), "{answer}");
    };
    tokio::time::timeout(Duration::from_secs(20), asked)
        .await
        .unwrap();
}

//! Bodies at random, the same for the same seed.

use super::cases::{Case, pixel};

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }

    /// Text that is made of some of these.
    fn text(&mut self, parts: &[&str], most: usize) -> String {
        (0..=self.below(most)).map(|_| self.pick(parts)).collect()
    }
}

/// A body of `cases` with up to four changes, or a pixel with a field that nobody thought of.
pub fn mutation(cases: &[Case], random: &mut Random) -> Case {
    match random.below(8) {
        0 => Case::json("random texts for integers", integer_text(random)),
        1 => Case::json("random numbers", number(random)),
        2 => Case::json("random strings", string(random)),
        3 => Case::json("random tokens", tokens(random)),
        _ => {
            let mut body = base(cases, random).to_vec();
            for _ in 0..=random.below(4) {
                change(&mut body, base(cases, random), random);
            }
            Case::json("random changes", body)
        }
    }
}

fn base<'c>(cases: &'c [Case], random: &mut Random) -> &'c [u8] {
    loop {
        let body = &cases[random.below(cases.len())].body;
        if body.len() < 2000 {
            return body;
        }
    }
}

fn change(body: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    const PIECES: [&[u8]; 32] = [
        b"\"",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\\",
        b"0",
        b"1",
        b"9",
        b"-",
        b"+",
        b".",
        b"e",
        b"_",
        b" ",
        b"\n",
        b"\0",
        b"\x80",
        b"\xff",
        b"\xc3\xa9",
        b"\xed\xa0\x80",
        b"\\u",
        b"\\ud83d",
        b"null",
        b"true",
        b"NaN",
        b"\"x\":",
        b"\"value\":",
        b"\"R\"",
        b"1e309",
    ];
    let at = random.below(body.len() + 1);
    let end = (at + random.below(12)).min(body.len());
    match random.below(7) {
        0 => body.truncate(at),
        1 => drop(body.drain(at..end)),
        2 => drop(body.splice(at..at, body[at..end].to_vec())),
        3 => drop(body.splice(at..end, random.pick(&PIECES).iter().copied())),
        4 => drop(body.splice(at..at, random.pick(&PIECES).iter().copied())),
        5 if at < body.len() => body[at] ^= 1 << random.below(8),
        _ => {
            let from = random.below(other.len() + 1);
            let to = (from + random.below(20)).min(other.len());
            body.splice(at..end, other[from..to].iter().copied());
        }
    }
}

fn field(random: &mut Random) -> &'static str {
    random.pick(&["x", "y", "value"])
}

fn integer_text(random: &mut Random) -> String {
    const PARTS: [&str; 16] =
        ["0", "0", "0", "1", "2", "5", "7", "_", "-", "+", ".", ".0", " ", "\u{a0}", "e", "\u{661}"];
    let text = random.text(&PARTS, 8);
    pixel(&[(field(random), &format!("\"{text}\""))])
}

fn number(random: &mut Random) -> String {
    const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let sign = random.pick(&["", "-"]);
    let whole = random.text(&DIGITS, 20);
    let fraction =
        if random.below(2) == 0 { String::new() } else { format!(".{}", random.text(&DIGITS, 20)) };
    let exponent = random.pick(&["", "", "e", "E+", "e-"]);
    let power = if exponent.is_empty() { String::new() } else { random.below(330).to_string() };
    let number = format!("{sign}{whole}{fraction}{exponent}{power}");
    pixel(&[(field(random), &number)])
}

fn string(random: &mut Random) -> String {
    const PARTS: [&str; 18] = [
        "R",
        "a",
        "é",
        "\u{2028}",
        "😀",
        "\u{7f}",
        "\\n",
        "\\\"",
        "\\\\",
        "\\/",
        "\\u00e9",
        "\\u0000",
        "\\u001f",
        "\\u2028",
        "\\ud83d\\ude00",
        "\\ud83d",
        "\\ude00",
        "\\uFFFF",
    ];
    let text = random.text(&PARTS, 6);
    pixel(&[(random.pick(&["x", "channel"]), &format!("\"{text}\""))])
}

fn tokens(random: &mut Random) -> String {
    const PARTS: [&str; 20] = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"x\"",
        "\"y\":",
        "\"a\":",
        "\"_sa\":",
        "1",
        "-",
        "1.5",
        "0",
        "null",
        "true",
        "NaN",
        "-Infinity",
        " ",
        "\"é\"",
    ];
    random.text(&PARTS, 10)
}

//! The codec alone: ours, the same written straightforwardly in Rust, and Django's own, on the same sessions.

mod django;
mod straight;

use std::{collections::BTreeMap, fs, hint::black_box, path::Path, time::Duration};

use actix_django_session::{
    SecretKey,
    codec::{Codec, SessionData},
};
use criterion::Criterion;
use serde_json::{Map, Value, json};

use crate::{
    Result, content,
    figures::Spread,
    options::Options,
    report,
    svg::{Bar, Group},
};

/// A session, in every form that somebody starts from.
pub struct Payload {
    pub name: &'static str,
    pub session: Value,
    /// As Django writes it.
    pub compressed: String,
    /// As it would be without compression.
    pub plain: String,
}

const COLUMNS: [&str; 6] =
    ["what", "ours_us", "straightforward_us", "django_us", "x_straightforward", "x_django"];

pub fn run(options: &Options) -> Result<()> {
    let results = options.target.join("bench");
    fs::create_dir_all(&results)?;
    let codec = Codec::new(SecretKey::new(content::SECRET));
    let payloads = [payload("login", login())?, payload("cart_4k", cart())?];
    for payload in &payloads {
        check(&codec, payload)?;
    }
    let theirs = match django::measure(&options.target, &payloads) {
        Ok(theirs) => theirs,
        Err(error) => {
            println!("no Django to compare with: {error}");
            BTreeMap::new()
        }
    };
    let criterion_dir = results.join("criterion");
    let time = if options.quick { Duration::from_secs(1) } else { Duration::from_secs(4) };
    let mut criterion = Criterion::default()
        .output_directory(&criterion_dir)
        .warm_up_time(time / 4)
        .measurement_time(time)
        .without_plots();
    let mut rows = Vec::new();
    for payload in &payloads {
        for (what, pair) in measure(&mut criterion, &codec, payload) {
            let [ours, straight] = pair.map(|name| micros(&criterion_dir, &name));
            let (ours, straight) = (ours?, straight?);
            let django = theirs.get(&what).copied();
            rows.push(json!({
                "what": what,
                "ours_us": ours,
                "straightforward_us": straight,
                "django_us": django,
                "x_straightforward": straight / ours,
                "x_django": django.map(|django| django / ours),
            }));
        }
    }
    let rows = Value::Array(rows);
    print!("{}", report::rows("one session, microseconds", &COLUMNS, &rows));
    fs::write(results.join("codec.json"), serde_json::to_string_pretty(&rows)?)?;
    fs::write(results.join("codec.svg"), picture(&rows))?;
    println!("wrote codec.json and codec.svg in {}", results.display());
    Ok(())
}

fn login() -> Value {
    json!({
        content::USER: "123456",
        content::BACKEND: content::BACKEND_VALUE,
        content::HASH: content::HASH_VALUE,
    })
}

fn cart() -> Value {
    let mut session = login();
    session[content::CART] = content::cart(4096);
    session
}

fn payload(name: &'static str, session: Value) -> Result<Payload> {
    let [compressed, plain] = [true, false].map(|compress| straight::encode(&session, compress));
    Ok(Payload { name, session, compressed: compressed?, plain: plain? })
}

/// Wrong results do not count, however fast.
fn check(codec: &Codec, payload: &Payload) -> Result<()> {
    for text in [&payload.compressed, &payload.plain] {
        let ours: Value = serde_json::from_str(&codec.decode(text)?.to_json())?;
        let back = straight::decode(&String::from_utf8(codec.encode(&codec.decode(text)?)?)?)?;
        if ours != payload.session || back != payload.session || straight::decode(text)? != payload.session {
            return Err(format!("{}: the codecs do not agree", payload.name).into());
        }
    }
    Ok(())
}

/// Runs criterion: what was measured, and the names under which it keeps ours and the straightforward way.
fn measure(criterion: &mut Criterion, codec: &Codec, payload: &Payload) -> Vec<(String, [String; 2])> {
    let mut done = Vec::new();
    let both = |what: &str| {
        let what = format!("{}_{what}", payload.name);
        (what.clone(), [format!("{what}_ours"), format!("{what}_straightforward")])
    };
    for (what, text) in [("decode_zlib", &payload.compressed), ("decode_plain", &payload.plain)] {
        let (what, names) = both(what);
        criterion.bench_function(&names[0], |bencher| {
            bencher.iter(|| {
                let session = codec.decode(black_box(text)).unwrap_or_default();
                session.get_json(content::USER).map(str::len)
            });
        });
        criterion.bench_function(&names[1], |bencher| {
            bencher.iter(|| {
                let session = straight::decode(black_box(text)).unwrap_or_default();
                session[content::USER].as_str().map(str::len)
            });
        });
        done.push((what, names));
    }
    let (what, names) = both("encode");
    let changed = changed(codec, payload);
    criterion.bench_function(&names[0], |bencher| bencher.iter(|| codec.encode(black_box(&changed))));
    criterion.bench_function(&names[1], |bencher| {
        bencher.iter(|| straight::encode(black_box(&payload.session), true));
    });
    done.push((what, names));

    // This crate parses a value when it is read: this reads all of them.
    let (what, names) = both("decode_zlib_and_parse_all");
    criterion.bench_function(&names[0], |bencher| {
        bencher.iter(|| {
            let session = codec.decode(black_box(&payload.compressed)).unwrap_or_default();
            let parsed = session.items().into_iter().map(|(key, json)| (key, serde_json::from_str(json)));
            parsed.filter_map(|(key, value)| Some((key, value.ok()?))).collect::<Map<String, Value>>()
        });
    });
    criterion.bench_function(&names[1], |bencher| {
        bencher.iter(|| straight::decode(black_box(&payload.compressed)));
    });
    done.push((what, names));
    done
}

/// As it is when a request has changed one key.
fn changed(codec: &Codec, payload: &Payload) -> SessionData {
    let mut session = codec.decode(&payload.plain).unwrap_or_default();
    session.set_json(content::USER, "\"123456\"").ok();
    session
}

/// The median that criterion wrote down.
fn micros(dir: &Path, name: &str) -> Result<f64> {
    let path = dir.join(name).join("new").join("estimates.json");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let estimates: Value = serde_json::from_str(&text)?;
    let nanos = estimates["median"]["point_estimate"].as_f64().ok_or("criterion has another format")?;
    Ok(nanos / 1000.0)
}

fn picture(rows: &Value) -> String {
    let mut groups = Vec::new();
    for row in rows.as_array().into_iter().flatten() {
        let micros = |name: &str| row[name].as_f64();
        let reference = micros("straightforward_us");
        let bar = |name, column: &str| {
            let value = micros(column);
            let times = reference.zip(value).map(|(reference, value)| reference / value);
            let ratio = times.map(|times| Spread { median: times, min: times, max: times });
            Bar {
                name,
                weak: false,
                ratio,
                value: value.map_or(String::new(), |value| format!("{value:.2} \u{b5}s")),
            }
        };
        let name = row["what"].as_str().unwrap_or_default().replace('_', " ");
        let bars = vec![
            bar("straightforward", "straightforward_us"),
            bar(crate::contender::OURS, "ours_us"),
            bar("django", "django_us"),
        ];
        groups.push(Group { name, bars });
    }
    crate::svg::picture("codec: one session", "speed, times that of the straightforward way in Rust", &groups)
}

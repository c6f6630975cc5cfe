//! The report as pictures: bars of how many times as fast as the reference, on a logarithmic scale, with the
//! range of the rounds. For light and dark pages.

use std::fmt::Write;

use crate::{
    contender::{self, EXACT, Keeps, LOGIN, OURS},
    figures::{Cell, Figures, Spread},
    report,
    workload::Workload,
};

const WIDTH: f64 = 820.0;
const LEFT: f64 = 170.0;
const RIGHT: f64 = 620.0;
const ROW: f64 = 22.0;
const HEADING: f64 = 30.0;
const TOP: f64 = 64.0;

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#24292f}\
.title{font-size:16px;font-weight:600}.group{font-weight:600}.quiet{fill:#6e7781}\
.end{text-anchor:end}.mid{text-anchor:middle}\
.bar{fill:#8c959f}.ours{fill:#2f81f7}.weak{fill-opacity:.4}.grid{stroke:#d0d7de;stroke-width:1}\
.one{stroke:#6e7781;stroke-width:1.5}\
.range{stroke:#24292f;stroke-width:1.5}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.quiet{fill:#8d96a0}.bar{fill:#6e7681}\
.grid{stroke:#30363d}\
.one{stroke:#8d96a0}.range{stroke:#e6edf3}}";

/// One bar.
pub struct Bar<'a> {
    pub name: &'a str,
    /// Keeps less of a promise than the others, and is drawn paler.
    pub weak: bool,
    pub ratio: Option<Spread>,
    /// The text at the end of the line.
    pub value: String,
}

/// Bars that stand together.
pub struct Group<'a> {
    pub name: String,
    pub bars: Vec<Bar<'a>>,
}

/// Clients in the picture that has a bit of everything.
const MANY: usize = 64;

/// A picture for each workload and one of all: its name as a file, and its text.
pub fn pictures(figures: &Figures) -> Vec<(String, String)> {
    let mut pictures = vec![("http-overview.svg".to_owned(), overview(figures))];
    let mut seen = Vec::new();
    for cell in &figures.cells {
        let kind = (cell.workload, cell.bytes > 0);
        if seen.contains(&kind) {
            continue;
        }
        seen.push(kind);
        let cells: Vec<&Cell> =
            figures.cells.iter().filter(|other| (other.workload, other.bytes > 0) == kind).collect();
        let name = format!("{}{}", cell.workload.name(), if kind.1 { "-by-size" } else { "" });
        let title = format!("{name}: {}", cell.workload.meaning());
        let reference =
            format!("requests per second, times those of \u{201c}{}\u{201d}", cell.workload.reference());
        pictures.push((format!("http-{name}.svg"), picture(&title, &reference, &groups(figures, &cells))));
    }
    pictures
}

fn overview(figures: &Figures) -> String {
    let wanted = [Workload::Read, Workload::Write, Workload::Create, Workload::Hot];
    let cells: Vec<&Cell> = figures
        .cells
        .iter()
        .filter(|cell| wanted.contains(&cell.workload) && cell.clients == MANY && cell.bytes == 0)
        .collect();
    let mut all = Vec::new();
    for workload in wanted {
        let cells: Vec<&Cell> = cells.iter().copied().filter(|cell| cell.workload == workload).collect();
        let name = format!("{}: {}", workload.name(), workload.meaning());
        all.extend(groups(figures, &cells).into_iter().map(|group| Group { name: name.clone(), ..group }));
    }
    let scale = "requests per second, times those of the same written by hand (\u{201c}floor\u{201d}); \
                 pale: not durable, or not on the server";
    picture(&format!("{MANY} clients, two workers"), scale, &all)
}

fn groups<'a>(figures: &'a Figures, cells: &[&'a Cell]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for cell in cells {
        let name = report::circumstances(cell.clients, cell.bytes);
        let rate = cell.median(|sample| sample.per_second);
        let bar = Bar {
            name: cell.contender,
            weak: contender::named(cell.contender)
                .is_ok_and(|one| matches!(one.keeps, Keeps::Redis | Keeps::Cookie)),
            ratio: figures.reference(cell).and_then(|reference| cell.ratio(reference)),
            value: rate.map_or("failed".to_owned(), |rate| format!("{rate:.0}/s")),
        };
        match groups.last_mut().filter(|group| group.name == name) {
            Some(group) => group.bars.push(bar),
            None => groups.push(Group { name, bars: vec![bar] }),
        }
    }
    groups
}

/// The picture as text.
pub fn picture(title: &str, scale: &str, groups: &[Group<'_>]) -> String {
    let bars = groups.iter().flat_map(|group| &group.bars);
    let ends =
        bars.filter_map(|bar| bar.ratio).flat_map(|ratio| [ratio.min, ratio.max]).filter(|&end| end > 0.0);
    let (low, high) = ends.fold((0.5_f64, 2.0_f64), |(low, high), end| (low.min(end), high.max(end)));
    let (low, high) = (low.ln() - 0.1, high.ln() + 0.1);
    let x = |ratio: f64| LEFT + (ratio.ln() - low) / (high - low) * (RIGHT - LEFT);
    let height =
        TOP + groups.iter().map(|group| HEADING + ROW * group.bars.len() as f64).sum::<f64>() + HEADING;

    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\">\n<title>{0}</title>\n<style>{STYLE}</style>\n\
         <text class=\"title\" x=\"10\" y=\"24\">{0}</text>\n\
         <text class=\"quiet\" x=\"10\" y=\"44\">{1}</text>\n",
        escape(title),
        escape(scale),
    );
    for tick in [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0] {
        let at = x(tick);
        if (LEFT..=RIGHT).contains(&at) {
            let (class, bottom) = (if tick == 1.0 { "one" } else { "grid" }, height - HEADING + 4.0);
            let _ = writeln!(
                out,
                "<path class=\"{class}\" d=\"M{at:.1} {TOP}V{bottom}\"/>\
                 <text class=\"quiet mid\" x=\"{at:.1}\" y=\"{:.0}\">{tick}\u{d7}</text>",
                bottom + 14.0
            );
        }
    }
    let mut y = TOP;
    for group in groups {
        y += HEADING;
        let _ = writeln!(
            out,
            "<text class=\"group\" x=\"10\" y=\"{:.0}\">{}</text>",
            y - 8.0,
            escape(&group.name)
        );
        for bar in &group.bars {
            draw(&mut out, bar, y, &x);
            y += ROW;
        }
    }
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, bar: &Bar<'_>, y: f64, x: &impl Fn(f64) -> f64) {
    let middle = y + ROW / 2.0 - 2.0;
    let mut label = |at: f64, text: &str| {
        let _ =
            writeln!(out, "<text class=\"end\" x=\"{at}\" y=\"{:.0}\">{}</text>", middle + 4.0, escape(text));
    };
    label(LEFT - 8.0, bar.name);
    label(WIDTH - 10.0, &bar.value);
    let Some(ratio) = bar.ratio else { return };
    label(WIDTH - 100.0, &format!("{:.2}\u{d7}", ratio.median));
    if ratio.min <= 0.0 {
        return; // somebody answered nothing: there is no place for that on this scale
    }
    let (one, end) = (x(1.0), x(ratio.median));
    let kind = if [OURS, EXACT, LOGIN].contains(&bar.name) { " ours" } else { "" };
    let kind = if bar.weak { " weak" } else { kind };
    let (from, width, thick) = (one.min(end), (end - one).abs().max(1.0), ROW - 4.0);
    let _ = writeln!(
        out,
        "<rect class=\"bar{kind}\" x=\"{from:.1}\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"{thick:.0}\"/>"
    );
    if ratio.min < ratio.max {
        let (min, max, above, below) = (x(ratio.min), x(ratio.max), middle - 3.0, middle + 3.0);
        let _ = writeln!(
            out,
            "<path class=\"range\" \
             d=\"M{min:.1} {middle}H{max:.1}M{min:.1} {above}V{below}M{max:.1} {above}V{below}\"/>"
        );
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

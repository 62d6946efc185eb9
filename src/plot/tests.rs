use quick_xml::events::Event;
use quick_xml::{Reader, XmlVersion};

use super::*;

/// Reads the whole of an XML document; gives the text in it.
fn text_of(svg: &str) -> String {
    let mut reader = Reader::from_str(svg);
    let (mut text, mut depth) = (String::new(), 0);
    loop {
        match reader.read_event().unwrap_or_else(|error| panic!("{error}: {svg}")) {
            Event::Start(tag) => {
                depth += 1;
                for attribute in tag.attributes() {
                    attribute.unwrap().normalized_value(XmlVersion::Implicit1_0).unwrap();
                }
            }
            Event::End(_) => depth -= 1,
            Event::Text(part) => text += &part,
            Event::GeneralRef(name) => {
                text += quick_xml::escape::resolve_xml_entity(&name).unwrap();
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0, "{svg}");
    // XML 1.0 has no others.
    let is_allowed = |c: char| !c.is_control() || matches!(c, '\n' | '\t' | '\r');
    assert!(svg.chars().all(is_allowed), "{svg:?}");
    text
}

fn chart(series: Vec<Series>) -> Chart {
    Chart {
        title: "Loss".into(),
        x: Axis::new("steps"),
        y: Axis::new("nats per character"),
        series,
    }
}

#[test]
fn a_chart_shows_its_title_its_axes_and_its_series() {
    let points = (1..=10).map(|i| (100.0 * f64::from(i), 3.0 / f64::from(i))).collect();
    let svg = chart(vec![
        Series::new("validation", points),
        Series::new("training", vec![(100.0, 3.0), (1000.0, 0.3)]).dashed().colored(0),
    ])
    .to_svg()
    .unwrap();
    let text = text_of(&svg);
    for part in ["Loss", "steps", "nats per character", "validation", "training", "200", "1,000"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // Each series twice: the curve and its line in the legend; one of the two is dashed.
    assert_eq!(
        svg.matches("<polyline class=\"ls0\"").count(),
        0,
        "the class follows the attributes before it"
    );
    assert_eq!(svg.matches("class=\"ls0\" stroke=\"#0066A8\"").count(), 2, "{svg}");
    assert_eq!(
        svg.matches("class=\"ls0\" stroke=\"#0066A9\" stroke-dasharray").count(),
        2,
        "{svg}"
    );
    assert!(svg.contains("prefers-color-scheme:dark") && !svg.contains(" id="), "{svg}");
}

#[test]
fn names_of_any_characters_give_valid_xml() {
    let nasty = "</svg><script>&amp;\"'\u{0}\u{1b}[31m\u{fffe}\u{202e}stroke=\"#0066A8\"";
    let mut chart = chart(vec![Series::new(nasty, vec![(0.0, 1.0), (1.0, 2.0)])]);
    chart.title = nasty.into();
    chart.x.label = nasty.into();
    chart.y.label = nasty.into();
    let svg = chart.to_svg().unwrap();
    assert!(text_of(&svg).contains("</svg><script>&amp;\"'"), "{svg}");
    assert!(!svg.contains("<script"), "{svg}");
    assert_eq!(svg.matches("</svg>").count(), 1);
}

#[test]
fn a_series_of_no_one_or_wrong_points_is_drawn_as_far_as_it_goes() {
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    for points in [vec![], vec![(nan, 1.0)], vec![(1.0, inf), (-inf, nan)]] {
        let svg = chart(vec![Series::new("a", points)]).to_svg().unwrap();
        assert!(text_of(&svg).contains("no points to draw"), "{svg}");
    }
    assert!(text_of(&chart(Vec::new()).to_svg().unwrap()).contains("no points to draw"));
    let svg = chart(vec![Series::new("a", vec![(5.0, 1.0)])]).to_svg().unwrap();
    assert!(svg.contains("<circle") && !text_of(&svg).contains("no points"), "{svg}");
    // A line that NaN interrupts is two lines, and one in the legend.
    let points = vec![(0.0, 1.0), (1.0, 2.0), (2.0, nan), (3.0, 1.0), (4.0, 2.0)];
    let svg = chart(vec![Series::new("a", points)]).to_svg().unwrap();
    assert_eq!(svg.matches("class=\"ls0\"").count(), 3, "{svg}");
}

#[test]
fn numbers_of_any_size_have_a_place_in_the_chart() {
    let numbers =
        [0.0, -1.0, 1e-310, 1e-9, 1.0, 1.0 + 1e-15, 1e16, 1e300, 1.7e308, -1e300, f64::NAN];
    for a in numbers {
        for b in numbers {
            for log in [false, true] {
                let mut chart = chart(vec![Series::new("a", vec![(a, b), (b, a), (1.0, 2.0)])]);
                (chart.x.log, chart.y.log) = (log, log);
                let svg = chart.to_svg().unwrap();
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{a} {b} {log}: {svg}");
                text_of(&svg);
            }
        }
    }
}

#[test]
fn a_million_points_give_a_small_file() {
    let points =
        (0..1_000_000).map(|i| (f64::from(i), f64::from(i % 1000 * 7919 % 1000))).collect();
    let svg = chart(vec![Series::new("a", points)]).to_svg().unwrap();
    assert!(svg.len() < 100_000, "{} bytes", svg.len());
}

#[test]
fn a_legend_of_many_and_long_names_leaves_room_for_the_curves() {
    let series = |i: i32| {
        Series::new(format!("a long name {i} ").repeat(9), vec![(0.0, 1.0), (f64::from(i), 2.0)])
    };
    for size in [(240, 160), (360, 280), (760, 400), (4000, 4000)] {
        let svg = chart((0..40).map(series).collect()).to_svg_sized(size).unwrap();
        text_of(&svg);
        assert!(svg.matches("<polyline").count() >= 40, "{size:?}");
    }
    assert!(chart(Vec::new()).to_svg_sized((100, 400)).is_err());
}

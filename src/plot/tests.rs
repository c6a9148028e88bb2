use std::fs;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::*;

fn rows() -> Json {
    json!([
        {"region": "norrbotten", "people": 1203, "people_low": 1190, "people_high": 1216},
        {"region": "nordland", "people": 980, "people_low": 967, "people_high": 993},
        {"region": "akershus", "people": null, "people_low": null, "people_high": null},
    ])
}

fn bars() -> Json {
    json!({
        "encoding": {"x": {"field": "region", "type": "nominal"}},
        "layer": [
            {"mark": "bar", "encoding": {"y": {"field": "people", "type": "quantitative"}}},
            {"mark": "rule", "encoding": {"y": {"field": "people_low", "type": "quantitative"}, "y2": {"field": "people_high"}}},
        ],
    })
}

#[test]
fn the_vendored_scripts_are_those_of_the_packages() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plot/vega");
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    for (file, version) in [("vega.min.js", "6.4.0"), ("vega-lite.min.js", "6.4.3")] {
        let script = fs::read(folder.join(file)).unwrap();
        let sum = hex::encode(Sha256::digest(&script));
        let line = readme
            .lines()
            .find(|line| line.starts_with(&format!("| `{file}`")));
        assert!(line.unwrap().contains(&sum), "{file}: {sum}");
        let script = String::from_utf8(script).unwrap();
        assert!(script.contains(&format!("\"{version}\"")), "{file}");
        assert!(line.unwrap().contains(version));
    }
}

#[test]
fn bars_have_the_height_of_their_figures() {
    let picture = draw(&bars(), &rows()).unwrap();
    assert_eq!(picture.warnings, Vec::<String>::new());
    let svg = &picture.svg;
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>"));
    // One bar a figure, named for those who don't see it; a region without one has none.
    assert!(svg.contains("region: norrbotten; people: 1203"), "{svg}");
    assert!(svg.contains("region: nordland; people: 980"), "{svg}");
    // The y axis goes from 0 to 1300 over 300 pixels, or to whatever it says: heights are proportional.
    let height = |label: &str| {
        let at = svg.find(label).unwrap();
        let path = &svg[at..][svg[at..].find(" d=\"").unwrap() + 4..];
        let path = &path[..path.find('"').unwrap()];
        let (_, after) = path.split_once('v').unwrap();
        after.split('h').next().unwrap().parse::<f64>().unwrap()
    };
    let ratio =
        height("region: nordland; people: 980") / height("region: norrbotten; people: 1203");
    assert!((ratio - 980.0 / 1203.0).abs() < 1e-3, "{ratio}");
}

#[test]
fn texts_are_escaped_and_nothing_runs_or_loads() {
    let rows = json!([{"region": "<b>&\"'", "people": 1}]);
    let svg = draw(&bars(), &rows).unwrap().svg;
    assert!(svg.contains("&lt;b&gt;&amp;"), "{svg}");
    assert!(!svg.contains("<b>") && !svg.contains("<script") && !svg.contains("href"));
}

#[test]
fn what_cannot_be_drawn_is_told_clearly() {
    let refusal = |specification: Json| draw(&specification, &rows()).unwrap_err().to_string();
    let none = refusal(json!({"marks": "bar"}));
    assert!(
        none.starts_with("the plot can't be drawn: Invalid specification"),
        "{none}"
    );
    let broken = refusal(json!({
        "mark": "bar",
        "transform": [{"calculate": "datum.people +", "as": "x"}],
        "encoding": {"x": {"field": "x", "type": "quantitative"}},
    }));
    assert!(broken.starts_with("the plot can't be drawn: "), "{broken}");
    assert!(!broken.contains('\n'));
    assert!(draw(&json!([]), &rows()).is_err());
}

#[test]
fn data_from_outside_are_refused() {
    let refusal = draw(
        &json!({"layer": [{"data": {"url": "file:///etc/passwd"}, "mark": "bar", "encoding": {"x": {"field": "a"}}}]}),
        &rows(),
    )
    .unwrap_err()
    .to_string();
    assert!(
        refusal.contains("reads nothing but the answer's rows"),
        "{refusal}"
    );
}

#[test]
fn labels_have_the_room_that_they_need() {
    let wide = draw(&bars(), &json!([{"region": "mmmmmmmmmmmm", "people": 1}])).unwrap();
    let narrow = draw(&bars(), &json!([{"region": "iiiiiiiiiiii", "people": 1}])).unwrap();
    let height = |svg: &str| {
        let after = &svg[svg.find(" height=\"").unwrap() + 9..];
        after[..after.find('"').unwrap()].parse::<u32>().unwrap()
    };
    // Labels below a discrete axis stand upright: wide letters need more room.
    assert!(height(&wide.svg) > height(&narrow.svg) + 50);
}

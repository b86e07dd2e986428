//! Plots as SVG: times on a logarithmic axis, by the number of mounts or containers.

use std::fmt::Write;

/// One runtime's points: number and time in ms.
pub struct Curve {
    /// Its name.
    pub name: String,
    /// In ascending order of the number.
    pub points: Vec<(f64, f64)>,
}

/// The size of the picture and the frame in it, in pixels.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 540.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 366.0;

/// One colour for each curve; colour-blind readers can distinguish them too.
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9"];

/// The plot of all curves; `None` if there are no points.
pub fn draw(title: &str, axis: &str, curves: &[Curve]) -> Option<String> {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let right = points().map(|point| point.0).fold(f64::NAN, f64::max);
    let (low, high) =
        points().fold((f64::INFINITY, 0.0f64), |(low, high), point| (low.min(point.1), high.max(point.1)));
    if !(right > 0.0 && low > 0.0) {
        return None;
    }
    let ticks: Vec<f64> = ticks_between(low, high);
    let (first, last) = (ticks[0].log10(), ticks[ticks.len() - 1].log10());
    let x = |number: f64| LEFT + (RIGHT - LEFT) * number / right;
    let y = |ms: f64| BOTTOM - (BOTTOM - TOP) * (ms.log10() - first) / (last - first);

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"16\">{title}</text>\n"
    );
    for tick in &ticks {
        let height = y(*tick);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {height:.1}H{RIGHT}\" stroke=\"#ddd\"/><text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
            LEFT - 6.0,
            height + 4.0
        );
    }
    for quarter in 0..=4 {
        let number = right * f64::from(quarter) / 4.0;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{number:.0}</text>",
            x(number),
            BOTTOM + 20.0
        );
    }
    let middle = (LEFT + RIGHT) / 2.0;
    let _ =
        writeln!(svg, "<text x=\"{middle}\" y=\"{:.0}\" text-anchor=\"middle\">{axis}</text>", BOTTOM + 42.0);
    let _ = writeln!(
        svg,
        "<text x=\"14\" y=\"{:.0}\" transform=\"rotate(-90 14 {:.0})\" text-anchor=\"middle\">ms</text>",
        (TOP + BOTTOM) / 2.0,
        (TOP + BOTTOM) / 2.0
    );
    for (index, (curve, colour)) in curves.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let mut path = String::new();
        for (number, (at, ms)) in curve.points.iter().enumerate() {
            let _ = write!(path, "{}{:.1} {:.1}", if number == 0 { "M" } else { "L" }, x(*at), y(*ms));
            let _ = writeln!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                x(*at),
                y(*ms)
            );
        }
        let height = TOP + 10.0 + 20.0 * index as f64;
        let _ = writeln!(
            svg,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n\
             <path d=\"M{:.0} {height:.0}h18\" stroke=\"{colour}\" stroke-width=\"2\"/><text x=\"{:.0}\" y=\"{:.0}\">{}</text>",
            RIGHT + 12.0,
            RIGHT + 36.0,
            height + 4.0,
            curve.name
        );
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

/// 1, 2, 5, 10 …, from the last tick not above `low` to the first not below `high`.
fn ticks_between(low: f64, high: f64) -> Vec<f64> {
    let all = (-4..6).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power)));
    let all: Vec<f64> = all.map(|tick| (tick * 1e4).round() / 1e4).collect();
    let first = all.iter().rposition(|tick| *tick <= low).unwrap_or(0);
    let last = all.iter().position(|tick| *tick >= high).unwrap_or(all.len() - 1).max(first + 1);
    all[first..=last.min(all.len() - 1)].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_enclose_the_values() {
        assert_eq!(ticks_between(2.3, 48.0), [2.0, 5.0, 10.0, 20.0, 50.0]);
        assert_eq!(ticks_between(5.0, 5.0), [5.0, 10.0]);
    }

    #[test]
    fn a_plot_has_each_curve_and_none_is_drawn_of_nothing() {
        let curve = |name: &str| Curve { name: name.into(), points: vec![(0.0, 2.0), (10.0, 3.0)] };
        let svg = draw("run", "mounts", &[curve("one"), curve("other")]).unwrap();
        assert_eq!((svg.matches("<circle").count(), svg.matches(">other<").count()), (4, 1));
        assert!(draw("run", "mounts", &[]).is_none());
    }
}

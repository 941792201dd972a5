import Glibc

/// A chart of lines as SVG: panels one below the other over one common x axis. Readable on light and dark paper.
package struct SVGChart {
    package enum Scale {
        /// From 0.
        case linear
        case logarithmic
    }

    package struct Series {
        let name: String
        /// Points that are not finite are left out.
        let points: [(x: Double, y: Double)]

        package init(name: String, points: [(x: Double, y: Double)]) {
            self.name = name
            self.points = points
        }
    }

    package struct Panel {
        let label: String
        let scale: Scale
        let series: [Series]
        /// A level that matters, as a dashed line.
        let limit: Double?

        package init(label: String, scale: Scale, series: [Series], limit: Double? = nil) {
            self.label = label
            self.scale = scale
            self.series = series
            self.limit = limit
        }
    }

    let title: String
    let subtitle: String
    let xLabel: String
    let panels: [Panel]

    package init(title: String, subtitle: String, xLabel: String, panels: [Panel]) {
        self.title = title
        self.subtitle = subtitle
        self.xLabel = xLabel
        self.panels = panels
    }

    private static let width = 760.0
    private static let panelHeight = 240.0
    private static let left = 76.0
    private static let right = 150.0
    private static let top = 64.0
    private static let gap = 44.0
    private static let bottom = 56.0
    private static let colours = 4

    package func text() -> String {
        let height =
            Self.top + Double(panels.count) * Self.panelHeight + Double(max(0, panels.count - 1)) * Self.gap
            + Self.bottom
        var lines = [
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 \(Text.fixed(Self.width, 0)) "
                + "\(Text.fixed(height, 0))\" role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"12\">",
            "<title>\(Self.escape(title))</title>",
            Self.style,
            "<rect class=\"paper\" width=\"100%\" height=\"100%\"/>",
            "<text class=\"ink\" x=\"\(Self.left)\" y=\"26\" font-size=\"16\">\(Self.escape(title))</text>",
            "<text class=\"dim\" x=\"\(Self.left)\" y=\"46\">\(Self.escape(subtitle))</text>",
        ]
        let xAxis = Axis(
            values: panels.flatMap { $0.series.flatMap { $0.points.map(\.x) } }, scale: .linear,
            from: Self.left, to: Self.width - Self.right)
        for (index, panel) in panels.enumerated() {
            let y = Self.top + Double(index) * (Self.panelHeight + Self.gap)
            lines += draw(panel, top: y, xAxis)
        }
        let middle = (Self.left + Self.width - Self.right) / 2
        lines.append(
            "<text class=\"ink\" x=\"\(Text.fixed(middle, 1))\" y=\"\(Text.fixed(height - 14, 1))\" "
                + "text-anchor=\"middle\">\(Self.escape(xLabel))</text>")
        lines.append("</svg>")
        return lines.joined(separator: "\n") + "\n"
    }

    private func draw(_ panel: Panel, top: Double, _ xAxis: Axis) -> [String] {
        let base = top + Self.panelHeight
        let edge = Self.width - Self.right
        let values = panel.series.flatMap { $0.points.map(\.y) } + (panel.limit.map { [$0] } ?? [])
        let yAxis = Axis(values: values, scale: panel.scale, from: base, to: top)
        var lines: [String] = []
        for tick in yAxis.ticks {
            let y = Text.fixed(yAxis.place(tick), 1)
            lines.append("<path class=\"grid\" d=\"M\(Self.left) \(y)H\(edge)\"/>")
            lines.append(
                "<text class=\"dim\" x=\"\(Self.left - 8)\" y=\"\(y)\" dy=\"4\" text-anchor=\"end\">\(Axis.label(tick))</text>"
            )
        }
        for tick in xAxis.ticks {
            let x = Text.fixed(xAxis.place(tick), 1)
            lines.append("<path class=\"axis\" d=\"M\(x) \(base)v5\"/>")
            lines.append(
                "<text class=\"dim\" x=\"\(x)\" y=\"\(base + 18)\" text-anchor=\"middle\">\(Axis.label(tick))</text>")
        }
        lines.append("<path class=\"axis\" d=\"M\(Self.left) \(top)V\(base)H\(edge)\"/>")
        let middle = top + Self.panelHeight / 2
        lines.append(
            "<text class=\"ink\" transform=\"translate(18 \(middle)) rotate(-90)\" text-anchor=\"middle\">"
                + "\(Self.escape(panel.label))</text>")
        if let limit = panel.limit {
            let y = Text.fixed(yAxis.place(limit), 1)
            lines.append("<path class=\"limit\" d=\"M\(Self.left) \(y)H\(edge)\"/>")
            // Below the line where there is no room above.
            let shift = yAxis.place(limit) < top + 16 ? 14 : -5
            lines.append(
                "<text class=\"dim\" x=\"\(edge - 4)\" y=\"\(y)\" dy=\"\(shift)\" text-anchor=\"end\">"
                    + "limit \(Axis.label(limit))</text>")
        }
        for (index, series) in panel.series.enumerated() {
            lines += draw(series, colour: index % Self.colours, xAxis, yAxis, legendY: top + 14 + Double(index) * 20)
        }
        return lines
    }

    private func draw(_ series: Series, colour: Int, _ xAxis: Axis, _ yAxis: Axis, legendY: Double) -> [String] {
        let places = series.points.filter { $0.x.isFinite && $0.y.isFinite }.map {
            (x: Text.fixed(xAxis.place($0.x), 1), y: Text.fixed(yAxis.place($0.y), 1))
        }
        var lines: [String] = []
        if places.count > 1 {
            let path = places.map { "\($0.x) \($0.y)" }.joined(separator: "L")
            lines.append("<path class=\"line c\(colour)\" d=\"M\(path)\"/>")
        }
        for place in places {
            lines.append("<circle class=\"dot c\(colour)\" cx=\"\(place.x)\" cy=\"\(place.y)\" r=\"3.5\"/>")
        }
        let x = Self.width - Self.right + 10
        lines.append("<path class=\"line c\(colour)\" d=\"M\(x) \(legendY)h22\"/>")
        lines.append(
            "<text class=\"ink\" x=\"\(x + 28)\" y=\"\(legendY)\" dy=\"4\">\(Self.escape(series.name))</text>")
        return lines
    }

    /// XML 1.0 §2.4; control characters cannot be written at all.
    static func escape(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            default: if scalar.value >= 0x20 { escaped.unicodeScalars.append(scalar) }
            }
        }
        return escaped
    }

    /// Colours that differ for the colour-blind, too (Okabe and Ito), lighter on dark paper.
    private static let style = """
        <style>
        .paper{fill:#fff}.ink{fill:#1b1f24}.dim{fill:#59636e}
        .grid{stroke:#d8dee4;fill:none}.axis{stroke:#59636e;fill:none}
        .limit{stroke:#59636e;stroke-dasharray:6 4;fill:none}.line{fill:none;stroke-width:2}
        .line.c0{stroke:#0072b2}.dot.c0{fill:#0072b2}.line.c1{stroke:#c44e00}.dot.c1{fill:#c44e00}
        .line.c2{stroke:#007a5e}.dot.c2{fill:#007a5e}.line.c3{stroke:#a3487f}.dot.c3{fill:#a3487f}
        @media (prefers-color-scheme:dark){
        .paper{fill:#0d1117}.ink{fill:#f0f6fc}.dim{fill:#9198a1}.grid{stroke:#2b323b}
        .axis,.limit{stroke:#9198a1}
        .line.c0{stroke:#56b4e9}.dot.c0{fill:#56b4e9}.line.c1{stroke:#f0a04b}.dot.c1{fill:#f0a04b}
        .line.c2{stroke:#3fc9a0}.dot.c2{fill:#3fc9a0}.line.c3{stroke:#e08bc0}.dot.c3{fill:#e08bc0}
        }
        </style>
        """
}

/// Where values lie on an axis, and where its ticks are.
package struct Axis {
    package let ticks: [Double]
    private let lowest: Double
    private let highest: Double
    private let from: Double
    private let to: Double
    private let isLogarithmic: Bool

    /// Smaller values are drawn at this one, where the scale is logarithmic and 0 has no place.
    private static let smallest = 0.01
    private static let wantedTicks = 6.0

    package init(values: [Double], scale: SVGChart.Scale, from: Double, to: Double) {
        self.from = from
        self.to = to
        let finite = values.filter(\.isFinite)
        let largest = finite.max() ?? 0
        switch scale {
        case .linear:
            isLogarithmic = false
            let step = Self.step(max(largest, 0))
            let count = max(1, (largest / step - 1e-9).rounded(.up))
            (lowest, highest) = (0, count * step)
            ticks = (0...Int(count)).map { Double($0) * step }
        case .logarithmic:
            isLogarithmic = true
            let low = max(Self.smallest, finite.min() ?? 1)
            var decade = 1.0
            while decade > low * (1 + 1e-9) { decade /= 10 }
            while decade * 10 <= low { decade *= 10 }
            lowest = decade
            var marks: [Double] = []
            while decade < max(largest, lowest * 10) * (1 - 1e-9) {
                marks += [decade, 2 * decade, 5 * decade]
                decade *= 10
            }
            highest = decade
            marks.append(decade)
            // Three marks in each decade are too many for a long axis.
            let span = Double(marks.count) / 3
            ticks = span > 3 ? stride(from: 0, to: marks.count, by: 3).map { marks[$0] } : marks
        }
    }

    /// 1, 2 or 5 times a power of ten, so that there are about six ticks.
    private static func step(_ largest: Double) -> Double {
        guard largest > 0 else { return 1 }
        let raw = largest / wantedTicks
        var power = 1.0
        while power > raw { power /= 10 }
        while power * 10 <= raw { power *= 10 }
        for factor in [1.0, 2, 5] where factor * power >= raw { return factor * power }
        return 10 * power
    }

    package func place(_ value: Double) -> Double {
        let share =
            isLogarithmic
            ? log10(max(value, lowest) / lowest) / log10(highest / lowest)
            : (value - lowest) / (highest - lowest)
        return from + min(max(share, 0), 1) * (to - from)
    }

    package static func label(_ value: Double) -> String {
        var digits = 0
        var scaled = abs(value)
        while digits < 4, abs(scaled - scaled.rounded()) > 1e-6 * max(1, scaled) {
            scaled *= 10
            digits += 1
        }
        return Text.fixed(value, digits)
    }
}

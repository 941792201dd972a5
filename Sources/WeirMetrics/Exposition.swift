/// The lines of one metric family in the Prometheus text format 0.0.4.
struct Exposition {
    let name: String
    let kind: MetricKind
    private(set) var text: String

    init(name: String, help: String, kind: MetricKind) {
        self.name = name
        self.kind = kind
        text = "# HELP \(name) \(Self.escapeHelp(help))\n# TYPE \(name) \(kind.rawValue)\n"
    }

    mutating func append(_ labels: [(String, String)], _ value: UInt64) {
        text += "\(name)\(Self.labelText(labels)) \(value)\n"
    }

    mutating func append(_ labels: [(String, String)], _ value: Double) {
        text += "\(name)\(Self.labelText(labels)) \(Self.number(value))\n"
    }

    mutating func append(_ labels: [(String, String)], _ histogram: Histogram) {
        append(
            HistogramSample(
                name: name, help: "", labels: labels, bounds: histogram.bounds,
                cumulativeCounts: histogram.cumulativeCounts, sum: histogram.sum))
    }

    mutating func append(_ sample: HistogramSample) {
        for (bound, count) in zip(sample.bounds.map(Self.number) + ["+Inf"], sample.cumulativeCounts) {
            text += "\(name)_bucket\(Self.labelText(sample.labels + [("le", bound)])) \(count)\n"
        }
        text += "\(name)_sum\(Self.labelText(sample.labels)) \(Self.number(sample.sum))\n"
        text += "\(name)_count\(Self.labelText(sample.labels)) \(sample.cumulativeCounts.last ?? 0)\n"
    }

    /// `{a="1",b="2"}`, or nothing.
    static func labelText(_ labels: [(String, String)]) -> String {
        guard !labels.isEmpty else { return "" }
        return "{" + labels.map { "\($0.0)=\"\(escapeLabel($0.1))\"" }.joined(separator: ",") + "}"
    }

    /// `[a-zA-Z_:][a-zA-Z0-9_:]*`
    static func isValidName(_ name: String) -> Bool {
        isIdentifier(name, colons: true)
    }

    /// `[a-zA-Z_][a-zA-Z0-9_]*`; names which start with `__`, and `le`, are taken.
    static func isValidLabel(_ name: String) -> Bool {
        isIdentifier(name, colons: false) && !name.hasPrefix("__") && name != "le"
    }

    private static func isIdentifier(_ name: String, colons: Bool) -> Bool {
        let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
        guard let first = name.utf8.first, !digits.contains(first) else { return false }
        return name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                true
            case UInt8(ascii: ":"): colons
            default: false
            }
        }
    }

    private static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if let whole = Int64(exactly: value) { return "\(whole)" }
        return "\(value)"
    }

    private static func escapeHelp(_ text: String) -> String {
        escape(text, quotes: false)
    }

    private static func escapeLabel(_ text: String) -> String {
        escape(text, quotes: true)
    }

    private static func escape(_ text: String, quotes: Bool) -> String {
        var out = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\"" where quotes: out += "\\\""
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out
    }
}

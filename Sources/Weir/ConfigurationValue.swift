import Yams

/// A value as the operator wrote it, with the line it stands on (0 for the environment).
indirect enum ConfigurationValue {
    case scalar(String, line: Int)
    case list([ConfigurationValue], line: Int)
    case mapping([(key: String, value: ConfigurationValue)], line: Int)
    /// The key is there, a value is not.
    case missing(line: Int)

    var line: Int {
        switch self {
        case .scalar(_, let line), .list(_, let line), .mapping(_, let line), .missing(let line): line
        }
    }

    /// The value for an error message, shortened.
    var text: String {
        let limit = 60
        let whole =
            switch self {
            case .scalar(let text, _): "\"\(text)\""
            case .list(let items, _): "[" + items.map(\.text).joined(separator: ", ") + "]"
            // Without values: one of them may be a password.
            case .mapping(let pairs, _): "{" + pairs.map(\.key).joined(separator: ", ") + "}"
            case .missing: "nothing"
            }
        return whole.count <= limit ? whole : whole.prefix(limit) + "…"
    }

    init(_ node: Node, line fallback: Int) {
        let line = node.mark?.line ?? fallback
        switch node {
        case .scalar(let scalar):
            let isPlain = scalar.style == .plain || scalar.style == .any
            if isPlain, ["", "~", "null", "Null", "NULL"].contains(scalar.string) {
                self = .missing(line: line)
            } else {
                self = .scalar(scalar.string, line: line)
            }
        case .sequence(let sequence):
            self = .list(sequence.map { ConfigurationValue($0, line: line) }, line: line)
        case .mapping(let mapping):
            self = .mapping(
                mapping.map { ($0.key.scalar?.string ?? "?", ConfigurationValue($0.value, line: line)) }, line: line)
        case .alias:
            self = .missing(line: line)
        }
    }

    /// A value from an environment variable. Lists are written `a, b` or, like every compound value, as YAML: `[a, b]`.
    init(environment text: String) {
        let first = text.first
        if first == "[" || first == "{", let node = try? Yams.compose(yaml: text) {
            self.init(node, line: 0)
        } else {
            self = .scalar(text, line: 0)
        }
    }
}

/// Why a value is refused and what would be right; the loader adds where it stands.
struct BadValue: Error {
    /// Completes "VALUE …": `is not a port number`.
    var problem: String
    /// An order: `give a whole number from 1 to 65535`.
    var remedy: String
    /// A line more exact than that of the key.
    var line: Int?
    /// The part of the value that is wrong, when it is not the whole.
    var value: String?

    init(_ problem: String, remedy: String, line: Int? = nil, value: String? = nil) {
        self.problem = problem
        self.remedy = remedy
        self.line = line
        self.value = value
    }
}

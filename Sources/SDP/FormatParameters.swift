/// The `name=value` list of an `a=fmtp` line, in its order. Names are compared without case (RFC 4855 §3).
package struct FormatParameters: Sendable, Hashable {
    package struct Entry: Sendable, Hashable {
        package var name: String
        package var value: String?
    }

    /// More than any real format needs; the rest of a longer list is ignored.
    static let maxEntries = 64

    package private(set) var entries: [Entry] = []

    package init() {}

    package init(_ text: String) {
        for part in text.split(byte: UInt8(ascii: ";")).prefix(Self.maxEntries) {
            let item = part.trimmed
            guard !item.isEmpty else { continue }
            if let equals = item.utf8.firstIndex(of: UInt8(ascii: "=")) {
                let name = item[..<equals].trimmed
                guard !name.isEmpty else { continue }
                let value = item[item.utf8.index(after: equals)...].trimmed
                entries.append(Entry(name: String(name), value: String(value)))
            } else {
                entries.append(Entry(name: String(item), value: nil))
            }
        }
    }

    package subscript(name: String) -> String? {
        entries.first { $0.name.lowercased() == name }?.value
    }

    /// Value as a number, or `standard` if it is absent or no number.
    package func number(_ name: String, default standard: Int) -> Int {
        self[name].flatMap { Int($0) } ?? standard
    }

    /// Sets the parameter in its place, or at the end if it is new.
    mutating func set(_ name: String, _ value: String) {
        if let at = entries.firstIndex(where: { $0.name.lowercased() == name }) {
            entries[at].value = value
        } else {
            entries.append(Entry(name: name, value: value))
        }
    }

    /// Removes entries whose lower-case name satisfies the predicate.
    mutating func remove(where predicate: (String) -> Bool) {
        entries.removeAll { predicate($0.name.lowercased()) }
    }

    package var text: String {
        entries.map { entry in entry.value.map { entry.name + "=" + $0 } ?? entry.name }.joined(separator: ";")
    }
}

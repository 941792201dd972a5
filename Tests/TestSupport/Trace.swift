/// A recorded offer.
package struct Trace: Sendable {
    package let name: String
    package let offer: String

    package init(_ name: String, _ text: String) {
        self.name = name
        offer = crlf(text)
    }
}

/// The text with CRLF line ends, the last line included; one that has them already stays.
package func crlf(_ text: String) -> String {
    if text.contains("\r\n") { return text }
    return text.split(separator: "\n", omittingEmptySubsequences: true).joined(separator: "\r\n") + "\r\n"
}

/// What a player asks of a playlist's delivery in its query (RFC 8216bis §6.2.5).
package struct DeliveryDirectives: Sendable, Hashable {
    package enum Skip: Sendable, Hashable {
        /// `YES`: leave out old segments.
        case segments
        /// `v2`: and old date ranges, of which we have none.
        case segmentsAndDateRanges
    }

    package enum Failure: Error, Hashable, Sendable {
        /// No decimal-integer (§4.2), or one beyond 64 bits.
        case badNumber
        /// `_HLS_part` without `_HLS_msn` (§6.2.5.2).
        case partWithoutSegment
        /// A directive stands twice: no telling which is meant.
        case repeated
        case tooLong
    }

    /// Longest query that is looked at: a token of a few KiB and the directives.
    package static let maxQueryBytes = 16_384
    /// A decimal-integer has 1 to 20 digits (§4.2).
    private static let maxDigits = 20

    /// `_HLS_msn`
    package var sequenceNumber: UInt64?
    /// `_HLS_part`
    package var part: UInt64?
    /// `_HLS_skip`
    package var skip: Skip?

    package init(sequenceNumber: UInt64? = nil, part: UInt64? = nil, skip: Skip? = nil) {
        self.sequenceNumber = sequenceNumber
        self.part = part
        self.skip = skip
    }

    /// - Parameter query: what stands behind the `?`, still percent-encoded. Parameters of others are passed over, also
    ///   unknown ones that begin with `_HLS_`, and unknown values of `_HLS_skip`.
    package static func parse(query: String) throws(Failure) -> DeliveryDirectives { try parse(query: query[...]) }

    package static func parse(query: Substring) throws(Failure) -> DeliveryDirectives {
        var directives = DeliveryDirectives()
        guard query.utf8.count <= maxQueryBytes else { throw .tooLong }
        // An array and no views of text: this is done for each request.
        let bytes = Array(query.utf8)
        var hasSkip = false
        var start = 0
        while start < bytes.count {
            let end = bytes[start...].firstIndex(of: UInt8(ascii: "&")) ?? bytes.count
            let pair = bytes[start..<end]
            start = end + 1
            guard pair.starts(with: prefix), let equals = pair.firstIndex(of: UInt8(ascii: "=")) else { continue }
            let value = pair[(equals + 1)...]
            let name = pair[(pair.startIndex + prefix.count)..<equals]
            if name.elementsEqual("msn".utf8) {
                guard directives.sequenceNumber == nil else { throw .repeated }
                directives.sequenceNumber = try number(value)
            } else if name.elementsEqual("part".utf8) {
                guard directives.part == nil else { throw .repeated }
                directives.part = try number(value)
            } else if name.elementsEqual("skip".utf8) {
                guard !hasSkip else { throw .repeated }
                hasSkip = true
                if value.elementsEqual("YES".utf8) { directives.skip = .segments }
                if value.elementsEqual("v2".utf8) { directives.skip = .segmentsAndDateRanges }
            }
        }
        guard directives.part == nil || directives.sequenceNumber != nil else { throw .partWithoutSegment }
        return directives
    }

    private static let prefix = Array("_HLS_".utf8)

    private static func number(_ digits: ArraySlice<UInt8>) throws(Failure) -> UInt64 {
        guard let number = decimalInteger(digits) else { throw .badNumber }
        return number
    }

    /// A decimal-integer (§4.2): digits only; nil beyond 64 bits.
    static func decimalInteger(_ digits: ArraySlice<UInt8>) -> UInt64? {
        var value: UInt64 = 0
        var count = 0
        for digit in digits {
            count += 1
            guard digit >= 0x30, digit <= 0x39, count <= maxDigits else { return nil }
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(UInt64(digit - 0x30))
            guard !overflow, !carry else { return nil }
            value = sum
        }
        return count > 0 ? value : nil
    }
}

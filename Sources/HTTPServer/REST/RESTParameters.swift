import WeirJSON

/// What is wrong with the parameters of a call, and what to do about it.
package struct RESTParameterError: Error, Hashable, Sendable {
    package let detail: String
    package let remedy: String
}

/// A parameter of a call, or a property of an object that a call answers with.
package struct RESTField: Sendable {
    package enum Kind: Sendable {
        case text
        case flag
        /// A whole number of at least zero.
        case number
        case texts
        case object
        case any
    }

    package let name: String
    package let kind: Kind
    package let isRequired: Bool
    /// For people.
    package let about: String

    package init(_ name: String, _ kind: Kind, required: Bool = false, _ about: String) {
        self.name = name
        self.kind = kind
        isRequired = required
        self.about = about
    }

    /// The same, but it need not be there.
    var optional: RESTField { RESTField(name, kind, about) }

    /// Whether objects can be looked for by it.
    var isScalar: Bool {
        switch kind {
        case .text, .flag, .number: true
        case .texts, .object, .any: false
        }
    }

    /// The form in which two values of the field are compared; nil if the value does not fit.
    func normal(_ value: JSONValue) -> String? {
        switch kind {
        case .text: value.text
        case .flag: value.flag.map { $0 ? "true" : "false" }
        case .number: value.integer.map { String($0) }
        case .texts, .object, .any: nil
        }
    }

    fileprivate func check(_ value: JSONValue) throws(RESTParameterError) {
        let (fits, form): (Bool, String) =
            switch kind {
            case .text: (value.text != nil, "a text")
            case .flag: (value.flag != nil, "true or false")
            case .number: ((value.integer ?? -1) >= 0, "a whole number of at least 0")
            case .texts: (value.texts != nil, "a list of texts")
            case .object: (value.isObject, "an object")
            case .any: (true, "")
            }
        guard fits else { throw RESTParameterError(detail: "\(name) does not fit", remedy: "Send \(form).") }
    }
}

extension JSONValue {
    fileprivate var isObject: Bool {
        if case .object = self { true } else { false }
    }
}

/// The parameters of one call, all of which are known and fit.
package struct RESTParameters: Sendable {
    /// Bytes of a body. The longest that make sense are payloads of stream events and data for many sessions.
    package static let maxBytes = 1 << 20
    /// No object of ours has so many properties.
    package static let maxParameters = 256
    /// Unknown parameters are named in errors, cut to so many characters.
    private static let shownCharacters = 64

    private let members: [JSONMember]
    private let fields: [RESTField]

    /// Reads a body. An empty one is an object without members, which is what calls without parameters are sent with.
    /// - Parameter isOpen: other fields than `fields` are taken, too.
    package init(
        body: [UInt8], fields: [RESTField], isOpen: Bool = false
    ) throws(RESTParameterError) {
        let isBlank = body.allSatisfy { $0 == 0x20 || $0 == 0x0a || $0 == 0x0d || $0 == 0x09 }
        guard !isBlank else {
            try self.init(members: [], fields: fields, isOpen: isOpen)
            return
        }
        var limits = JSONParser.Limits()
        limits.bytes = Self.maxBytes
        let value: JSONValue
        do throws(JSONParser.Failure) {
            value = try JSONParser.parse(body, limits: limits)
        } catch {
            throw Self.error(error)
        }
        guard case .object(let members) = value else {
            throw RESTParameterError(detail: "The body is no JSON object", remedy: "Send an object, or nothing.")
        }
        try self.init(members: members, fields: fields, isOpen: isOpen)
    }

    /// Reads the query of a GET, each value a text.
    package init(
        query: [(name: String, value: String)], fields: [RESTField], isOpen: Bool = false
    ) throws(RESTParameterError) {
        try self.init(
            members: query.map { JSONMember($0.name, .string($0.value)) }, fields: fields, isOpen: isOpen)
    }

    private init(members: [JSONMember], fields: [RESTField], isOpen: Bool) throws(RESTParameterError) {
        guard members.count <= Self.maxParameters else {
            throw RESTParameterError(
                detail: "There are more than \(Self.maxParameters) parameters",
                remedy: "Send only those that are known.")
        }
        // Of several of one name the last counts, as in JavaScript. null is how backends written in languages with
        // records say that they do not mean a field.
        var seen: Set<String> = []
        self.members = members.reversed().filter { seen.insert($0.name).inserted }.reversed().filter {
            !$0.value.isNull || fields.contains(named: $0.name)?.kind == .any
        }
        self.fields = fields
        for member in self.members {
            if let field = fields.contains(named: member.name) {
                try field.check(member.value)
            } else if !isOpen {
                let known = fields.map(\.name).joined(separator: ", ")
                throw RESTParameterError(
                    detail: "There is no parameter \"\(member.name.prefix(Self.shownCharacters))\"",
                    remedy: fields.isEmpty ? "This call has none." : "Known are: \(known).")
            }
        }
        for field in fields where field.isRequired && self[field.name] == nil {
            throw RESTParameterError(detail: "\(field.name) is missing", remedy: "Send \(field.name): \(field.about)")
        }
    }

    private static func error(_ failure: JSONParser.Failure) -> RESTParameterError {
        switch failure {
        case .malformed(let offset):
            RESTParameterError(detail: "The body is no JSON: byte \(offset)", remedy: "Send a JSON object.")
        case .tooLong, .tooDeep, .tooManyValues:
            RESTParameterError(detail: "The body is too large or too deep", remedy: "Send less at a time.")
        }
    }

    package subscript(_ name: String) -> JSONValue? { members.last { $0.name == name }?.value }

    package func text(_ name: String) -> String? { self[name]?.text }
    package func flag(_ name: String) -> Bool? { self[name]?.flag }
    package func integer(_ name: String) -> Int? { self[name]?.integer }
    package func texts(_ name: String) -> [String]? { self[name]?.texts }

    /// All of it as one object.
    package var object: JSONValue { .object(members) }

    /// What objects are looked for by: the parameters other than these.
    package func filter(except names: Set<String>) throws(RESTParameterError) -> RESTFilter {
        var wanted: [RESTFilter.Wish] = []
        for member in members where !names.contains(member.name) {
            let field = fields.contains(named: member.name) ?? RESTField(member.name, .text, "")
            guard let value = field.normal(member.value) else {
                throw RESTParameterError(
                    detail: "\(member.name.prefix(Self.shownCharacters)) is nothing to look for",
                    remedy: "Look for texts, numbers, true or false.")
            }
            wanted.append(.init(field: field, value: value))
        }
        return RESTFilter(wishes: wanted)
    }
}

extension [RESTField] {
    fileprivate func contains(named name: String) -> RESTField? { first { $0.name == name } }
}

/// Values that objects must have to be found.
package struct RESTFilter: Sendable {
    struct Wish: Sendable {
        let field: RESTField
        let value: String
    }

    let wishes: [Wish]

    package var isEmpty: Bool { wishes.isEmpty }

    /// The same, with the value that is looked for under that name as objects show it.
    package func showing(_ name: String, _ shown: (String) -> String) -> RESTFilter {
        RESTFilter(
            wishes: wishes.map { $0.field.name == name ? Wish(field: $0.field, value: shown($0.value)) : $0 })
    }

    package func matches(_ object: JSONValue) -> Bool {
        wishes.allSatisfy { wish in object[wish.field.name].flatMap(wish.field.normal) == wish.value }
    }
}

/// Which part of a list is asked for: all of it unless somebody says otherwise.
package struct RESTPage: Sendable {
    package static let fields = [
        RESTField("offset", .number, "how many objects to leave out at the beginning"),
        RESTField("size", .number, "how many objects to answer with at most"),
    ]
    package static let names = Set(fields.map(\.name))

    private let offset: Int
    private let size: Int

    package init(_ parameters: RESTParameters) {
        offset = parameters.integer("offset") ?? 0
        size = parameters.integer("size") ?? .max
    }

    package func cut<Element>(_ list: [Element]) -> ArraySlice<Element> { list.dropFirst(offset).prefix(size) }
}

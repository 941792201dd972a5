import ControlPlane
import WeirJSON

/// What becomes of a call when the backend cannot be asked or does not answer 200.
package enum RESTOnError: String, Hashable, Sendable, CaseIterable {
    /// Log it and go on.
    case log = "LOG"
    /// Break the call off and tell the client.
    case fail = "FAIL"
}

/// Whether a method is sent to the backend, and what its answer may do.
package enum RESTPolicy: String, Hashable, Sendable, CaseIterable {
    /// Sent; the values of the answer are not looked at.
    case notify = "NOTIFY"
    /// Sent; the answer's values of the fields in `restOverwrite` are taken.
    case overwrite = "OVERWRITE"
    /// Not sent.
    case disable = "DISABLE"
}

/// How one method is sent, as far as somebody said so. What is nil is left to the next one in line (`effective`).
package struct MethodConfig: Hashable, Sendable {
    /// Fields that do not go to the client.
    package var clientExclude: Set<String>?
    /// Fields that do not go to the backend.
    package var restExclude: Set<String>?
    package var restOnError: RESTOnError?
    package var restPolicy: RESTPolicy?
    /// Fields that the backend may change, under OVERWRITE.
    package var restOverwrite: Set<String>?

    package init(
        clientExclude: Set<String>? = nil, restExclude: Set<String>? = nil, restOnError: RESTOnError? = nil,
        restPolicy: RESTPolicy? = nil, restOverwrite: Set<String>? = nil
    ) {
        self.clientExclude = clientExclude
        self.restExclude = restExclude
        self.restOnError = restOnError
        self.restPolicy = restPolicy
        self.restOverwrite = restOverwrite
    }

    /// What the other one says counts, field by field.
    package func overridden(by other: MethodConfig) -> MethodConfig {
        MethodConfig(
            clientExclude: other.clientExclude ?? clientExclude, restExclude: other.restExclude ?? restExclude,
            restOnError: other.restOnError ?? restOnError, restPolicy: other.restPolicy ?? restPolicy,
            restOverwrite: other.restOverwrite ?? restOverwrite)
    }

    var isDisabled: Bool { restPolicy == .disable }
    var failsOnError: Bool { restOnError == .fail }
}

/// `restClientConfig` of a connect answer, or `default_rest_client_config` of an application (reference part 1.3).
package struct RESTClientConfig: Hashable, Sendable {
    /// Which member of the object is no configuration, and why.
    package struct Malformed: Error, Hashable, Sendable, CustomStringConvertible {
        package let description: String

        init(description: String) { self.description = description }

        package init(unknownMethod name: String) {
            description = "there is no hook method \"\(name.prefix(64))\""
        }
    }

    package var methods: [String: MethodConfig]

    package init(_ methods: [String: MethodConfig] = [:]) { self.methods = methods }

    /// Reads the object. Members that are no methods of ours (`call`, `hold`, …) are kept: the vendor's examples list
    /// all of them. A word that is none of those allowed is refused rather than guessed, since a mistyped `FAIL` would
    /// else let everybody in.
    package init(_ value: JSONValue) throws(Malformed) {
        guard case .object(let members) = value else { throw Malformed(description: "restClientConfig is no object") }
        methods = [:]
        for member in members where !member.value.isNull {
            guard case .object = member.value else {
                throw Malformed(description: "restClientConfig.\(Self.shown(member.name)) is no object")
            }
            methods[member.name] = try Self.method(member.name, member.value)
        }
    }

    private static func method(_ name: String, _ value: JSONValue) throws(Malformed) -> MethodConfig {
        func word<Word: RawRepresentable & CaseIterable>(
            _ field: String, _: Word.Type
        ) throws(Malformed) -> Word? where Word.RawValue == String {
            guard let given = value[field], !given.isNull else { return nil }
            guard let text = given.text, let word = Word(rawValue: text.uppercased()) else {
                let words = Word.allCases.map(\.rawValue).joined(separator: ", ")
                throw Malformed(description: "\(shown(name)).\(field) is none of \(words)")
            }
            return word
        }
        func list(_ field: String) throws(Malformed) -> Set<String>? {
            guard let given = value[field], !given.isNull else { return nil }
            switch given {
            case .string(let text): return fields(text)
            // Not of the vendor, but what everybody tries first.
            case .array(let elements): return Set(elements.compactMap(\.text).flatMap(fields))
            default: throw Malformed(description: "\(shown(name)).\(field) is no list of fields")
            }
        }
        return MethodConfig(
            clientExclude: try list("clientExclude"), restExclude: try list("restExclude"),
            restOnError: try word("restOnError", RESTOnError.self), restPolicy: try word("restPolicy", RESTPolicy.self),
            restOverwrite: try list("restOverwrite"))
    }

    /// A comma list.
    package static func fields(_ text: String) -> Set<String> {
        Set(
            text.split(separator: ",").map { String($0.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()) }
                .filter { !$0.isEmpty })
    }

    /// What is said of a method, under the name by which it is called or its other one.
    package func config(_ method: HookMethod) -> MethodConfig {
        for name in method.names {
            if let found = methods[name] { return found }
        }
        return MethodConfig()
    }

    /// What the other one says counts, field by field.
    package func overridden(by other: RESTClientConfig) -> RESTClientConfig {
        RESTClientConfig(methods.merging(other.methods) { $0.overridden(by: $1) })
    }

    /// For `applications.json` and the REST API.
    package var json: JSONValue {
        .object(
            methods.sorted { $0.key < $1.key }.map { name, config in
                var members: [JSONMember] = []
                func add(_ name: String, _ list: Set<String>?) {
                    guard let list else { return }
                    members.append(JSONMember(name, .string(list.sorted().joined(separator: ","))))
                }
                add("clientExclude", config.clientExclude)
                add("restExclude", config.restExclude)
                if let word = config.restOnError { members.append(JSONMember("restOnError", .string(word.rawValue))) }
                if let word = config.restPolicy { members.append(JSONMember("restPolicy", .string(word.rawValue))) }
                add("restOverwrite", config.restOverwrite)
                return JSONMember(name, .object(members))
            })
    }

    /// A name as errors and logs may show it.
    private static func shown(_ name: String) -> String { String(name.prefix(64)) }
}

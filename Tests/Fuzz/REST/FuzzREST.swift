import HTTPServer
import RESTHooks
import WeirJSON

/// Input: the body of a call of the REST API, after a first byte that chooses which parameters the call has. What is
/// taken must fit; what is made of it (filters, pages, applications) must be what was sent.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafeRawPointer?, _ count: Int) -> CInt {
    guard let data, count > 0 else { return 0 }
    let bytes = [UInt8](UnsafeRawBufferPointer(start: data, count: count))
    let isOpen = bytes[0] & 1 != 0
    let fields = bytes[0] & 2 != 0 ? some : []
    let parameters: RESTParameters
    do throws(RESTParameterError) {
        parameters = try RESTParameters(body: Array(bytes[1...]), fields: fields + RESTPage.fields, isOpen: isOpen)
    } catch {
        precondition(!error.detail.isEmpty && !error.remedy.isEmpty, "an error without words")
        precondition(error.detail.utf8.count < 1_000, "an error without end")
        return 0
    }
    checkParameters(parameters, fields: fields, isOpen: isOpen)
    checkFilter(parameters)
    checkApplication(parameters.object)
    return 0
}

private let some = [
    RESTField("name", .text, ""), RESTField("published", .flag, ""), RESTField("width", .number, ""),
    RESTField("ids", .texts, ""), RESTField("config", .object, ""), RESTField("payload", .any, ""),
]

private func checkParameters(_ parameters: RESTParameters, fields: [RESTField], isOpen: Bool) {
    guard case .object(let members) = parameters.object else { preconditionFailure("no object") }
    precondition(members.count <= RESTParameters.maxParameters, "too many")
    precondition(Set(members.map(\.name)).count == members.count, "one parameter twice")
    let known = Set((fields + RESTPage.fields).map(\.name))
    precondition(isOpen || members.allSatisfy { known.contains($0.name) }, "an unknown parameter")
    guard !fields.isEmpty else { return }
    precondition(parameters["width"] == nil || (parameters.integer("width") ?? -1) >= 0, "no number")
    precondition(parameters["published"] == nil || parameters.flag("published") != nil, "no flag")
    precondition(parameters["ids"] == nil || parameters.texts("ids") != nil, "no texts")
    if let payload = parameters["payload"] {
        precondition((try? JSONParser.parse(Array(payload.serialized.utf8))) != nil, "the payload is no JSON any more")
    }
    let list = Array(0..<10)
    let page = RESTPage(parameters).cut(list)
    precondition(page.count <= 10 && (parameters["offset"] != nil || parameters["size"] != nil || page.count == 10))
}

private func checkFilter(_ parameters: RESTParameters) {
    guard let filter = try? parameters.filter(except: RESTPage.names) else { return }
    precondition(filter.isEmpty || !filter.matches(.object([])), "an object without values is found")
    precondition(filter.matches(parameters.object), "what has all of the values is not found")
}

private func checkApplication(_ json: JSONValue) {
    guard let application = try? Application(json: json) else { return }
    guard let again = try? Application(json: application.shownJSON) else { preconditionFailure("our own object") }
    precondition(again.credentials == .none, "secrets are shown")
    precondition(again.key == application.key && again.backend == application.backend, "another application")
    guard let updated = try? application.updated(by: .object([])) else { preconditionFailure("changed by nothing") }
    precondition(updated == application, "changed by nothing")
}

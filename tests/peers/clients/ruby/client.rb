# Net::HTTP of Ruby.
require "net/http"

def get(base, path)
  # docs
  response = Net::HTTP.get_response(URI("#{base}#{path}"))
  raise "#{response.code} #{response.message}: #{response.body}" if response.code.to_i >= 400
  # end
  response.body
end

def request(base) = get(base, "/item")[/"answer": "(\w+)"/, 1]

def stream(base) = get(base, "/events").scan(/data: (\w+)/).join(" ").delete_suffix(" end")

def upload(base)
  uri = URI("#{base}/upload")
  body = Net::HTTP::Post.new(uri)
  body.set_form([["file", "x" * 100_000, { filename: "f" }]], "multipart/form-data")
  Net::HTTP.start(uri.host, uri.port) { |http| http.request(body) }.body[/\d+/]
end

# Runs a case and prints its result as one line, as cases.py does.
def run(name, action)
  how = "returned"
  begin
    text = send(action, "#{ENV.fetch("BASE")}/#{name}")
  rescue StandardError => error
    how, text = "raised", "#{error.class}: #{error.message}"
  end
  puts ["case", name, how, text.split.join(" ")].join("\t")
end

run("request", :request)
run("stream", :stream)
run("upload", :upload)
%w[forbidden large limited unavailable].each { |name| run(name, :request) }
run("cut", :stream)

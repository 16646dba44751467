export function SignUpPage() {
  return <h1>Create an account</h1>;
}

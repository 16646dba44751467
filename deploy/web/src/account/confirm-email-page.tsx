export default function ConfirmEmailPage() {
  return <h1>ConfirmEmail</h1>;
}
